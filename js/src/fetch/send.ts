import { either, systemClock, type Clock } from "./clock.js";
import { wait, type RetryRules } from "./retry.js";
import { judge, mayRepeat, retryAfter, type Verdict } from "./verdict.js";

/** How a request is sent. */
export interface Sending {
  readonly rules: RetryRules;
  readonly fetch: typeof fetch;
  readonly clock?: Clock;
  /** When the key was sent first, on the clock; now by default. */
  readonly since?: number;
  /** Told of every time that it was sent: what the answer says, or `undefined` where none came. */
  onAttempt?(attempt: Attempt): void;
}

export interface Attempt {
  /** Counts from 1. */
  readonly attempt: number;
  /** `undefined` where no answer came. */
  readonly verdict: Verdict | undefined;
  readonly status: number | undefined;
  /** How long until it is sent again, in milliseconds; `undefined` for not at all. */
  readonly again: number | undefined;
}

/** An answer, and what it says. */
export interface Sent {
  readonly response: Response;
  readonly verdict: Verdict;
}

/**
 * Sends a request, and again where that is safe and may help: where no answer came, and for the
 * verdicts that {@link mayRepeat} names. Ends with the last answer, whatever its status.
 *
 * Safe is what RFC 9110, section 9.2.2, calls idempotent, and what has a key; anything else is sent
 * once. A body is kept in memory meanwhile, and goes out byte for byte the same; a body that is
 * still a stream (`duplex: "half"`) is sent once.
 *
 * @throws TypeError of the platform's, where no answer came to the last one; the signal's reason.
 */
export async function send(request: Request, streams: boolean, how: Sending): Promise<Sent> {
  const { clock = systemClock, rules } = how;
  const since = how.since ?? clock.now();
  const safe = !streams && (IDEMPOTENT.has(request.method) || request.headers.has(KEY_HEADER));
  for (let attempt = 1; ; attempt++) {
    let response: Response | undefined;
    let verdict: Verdict | undefined;
    let failure: unknown;
    const last = !safe || attempt === rules.attempts;
    try {
      response = await how.fetch(last ? request : request.clone());
      verdict = await judge(response);
    } catch (error) {
      // Only a TypeError is the network's; an abort has the reason of the signal.
      if ((error as Error)?.name !== "TypeError") throw error;
      failure = error;
    }
    const offline = failure !== undefined && globalThis.navigator?.onLine === false;
    const again =
      safe && (verdict === undefined || mayRepeat(verdict))
        ? wait(rules, clock, {
            attempt,
            since,
            asked: response && retryAfter(response, clock.now()),
            offline,
          })
        : undefined;
    how.onAttempt?.({ attempt, verdict, status: response?.status, again });
    if (again === undefined) {
      if (!last) void request.body?.cancel().catch(() => {});
      if (response === undefined || verdict === undefined) throw failure;
      return { response, verdict };
    }
    void response?.body?.cancel().catch(() => {});
    await pause(again, failure !== undefined, request.signal, clock);
  }
}

/** The header of RFC 9651: a String Item. */
export const KEY_HEADER = "Idempotency-Key";

/** A key as the header has it.
 *
 *  @throws TypeError where it is empty, or not of printable ASCII. */
export function keyHeader(key: string): string {
  if (!/^[ -~]{1,255}$/.test(key)) {
    throw new TypeError("an idempotency key has 1 to 255 printable ASCII characters");
  }
  return `"${key.replace(/["\\]/g, "\\$&")}"`;
}

/** RFC 9110, section 9.2.2. */
const IDEMPOTENT = new Set(["GET", "HEAD", "OPTIONS", "PUT", "DELETE", "TRACE"]);

/** Waits; where the network failed, no longer than until it is back. */
async function pause(span: number, network: boolean, signal: AbortSignal, clock: Clock) {
  const nap = either(signal);
  if (network) globalThis.addEventListener?.("online", nap.abort);
  await clock.sleep(span, nap.signal);
  globalThis.removeEventListener?.("online", nap.abort);
  nap.off();
  signal.throwIfAborted();
}
