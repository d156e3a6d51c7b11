import { milliseconds, type Span } from "../span.js";
import type { Clock } from "./clock.js";

/** When a request is sent again. What is left out has its default. */
export interface RetryOptions {
  /** How often it is sent at most, the first time included; 5. */
  attempts?: number;
  /** The longest wait before the second time, doubled for each later one; 500 ms. The wait is drawn
   *  between zero and that, so that clients do not come back together. */
  base?: Span;
  /** What the doubling ends at; 30 s. */
  cap?: Span;
  /** A `Retry-After` of more than this is not waited for; 2 minutes. */
  patience?: Span;
  /** How long the server replays a key, from the first time that it was sent: nothing is sent
   *  again afterwards; 24 h. */
  window?: Span;
}

/** {@link RetryOptions} in numbers, in milliseconds. */
export interface RetryRules {
  readonly attempts: number;
  readonly base: number;
  readonly cap: number;
  readonly patience: number;
  readonly window: number;
}

/** Sent once. */
export const ONCE_ONLY = { attempts: 1 } satisfies RetryOptions;

/** Checks and completes the options.
 *
 *  @throws RangeError where one is not a positive span, or `attempts` no whole number of at least 1. */
export function rulesOf(options: RetryOptions = {}): RetryRules {
  const { attempts = 5, base = 500, cap = "30s", patience = "2m", window = "24h" } = options;
  if (!Number.isInteger(attempts) || attempts < 1) {
    throw new RangeError("`attempts` has to be a whole number of at least 1");
  }
  return {
    attempts,
    base: milliseconds(base),
    cap: milliseconds(cap),
    patience: milliseconds(patience),
    window: milliseconds(window),
  };
}

/** How long to wait before it is sent again, in milliseconds; `undefined` for not at all. */
export function wait(
  rules: RetryRules,
  clock: Clock,
  last: {
    /** How often it was sent. */
    attempt: number;
    /** When the key was sent first. */
    since: number;
    /** What the server asks for. */
    asked?: number | undefined;
    /** The page knows that it has no network: the wait is the longest, and ends when it is back. */
    offline?: boolean;
  },
): number | undefined {
  if (last.attempt >= rules.attempts || (last.asked ?? 0) > rules.patience) return undefined;
  const longest = Math.min(rules.cap, rules.base * 2 ** (last.attempt - 1));
  const delay = last.offline ? rules.cap : (last.asked ?? 0) + clock.random() * longest;
  return inWindow(rules, clock, last.since, delay) ? delay : undefined;
}

/** Whether the server still knows, after `delay`, a key that was sent first at `since`. Of a clock that was
 *  set back behind that nobody knows how much it tells of the key's age: so it does not, save for the
 *  little by which clocks are put right all the time. */
export function inWindow({ window }: RetryRules, clock: Clock, since: number, delay = 0): boolean {
  const age = clock.now() - since;
  return age > -window / 100 && age + delay < window;
}
