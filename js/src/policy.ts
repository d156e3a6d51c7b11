import { type CheckedPolicy, policy as checked } from "./core/machine.js";
import { milliseconds, type Span } from "./span.js";

/** How a key is used; what is left out has core's default. */
export interface PolicyOptions {
  /** `"replay"` keeps the outcome; `"while-active"` holds the key until the work ends. Replay. */
  readonly usage?: "replay" | "while-active";
  /** How long an outcome is replayed, or the work may be active; 24 h. */
  readonly retention?: Span;
  /** How long a lease lives without renewal: within this time a crashed owner's key becomes
   *  decidable. 60 s, or all of `retention` while active. */
  readonly lease?: Span;
  /** How long a lease may live with all its renewals; an hour, or all of `retention`. */
  readonly ceiling?: Span;
  /** How long after the retention a key is known as expired; not at all. */
  readonly tombstone?: Span;
  /** What it means that a lease lapsed: the next request takes over, or the outcome is unknown
   *  until somebody resolves it. Take over. */
  readonly onLapse?: "takeover" | "fence";
}

/**
 * The policy, checked by core: nothing is clamped.
 *
 * @throws IdempError SPAN_INVALID or POLICY_INVALID.
 */
export function policyOf(options: PolicyOptions): CheckedPolicy {
  const span = (span: Span | undefined) => (span === undefined ? undefined : milliseconds(span));
  return checked({
    whileActive: options.usage === "while-active",
    fence: options.onLapse === "fence",
    retention: milliseconds(options.retention ?? "24h"),
    lease: span(options.lease),
    ceiling: span(options.ceiling),
    tombstone: span(options.tombstone),
  });
}
