import { either, type Clock } from "./clock.js";
import { errorOf, NetworkError, UnknownOutcomeError } from "./errors.js";
import { inWindow, type RetryRules } from "./retry.js";
import { KEY_HEADER, keyHeader, send, type Attempt } from "./send.js";
import { isRefusal } from "./verdict.js";

/** What the work of an intent is given. */
export interface Work {
  /** The key of the operation: a UUID, kept until the intent is settled. */
  readonly key: string;
  /** Counts from 1; more means that an earlier attempt crashed, failed or was aborted. */
  readonly attempt: number;
  /** When the key was made, in milliseconds since the Unix epoch: nothing was sent before. */
  readonly since: number;
  /** Aborts with the signal of the caller. Hand it on to what the work asks for. */
  readonly signal: AbortSignal;
  /**
   * The platform's `fetch`, with the key in `Idempotency-Key` where the method is not safe, and sent
   * again where that may help. Unlike the platform's it rejects where the answer is an error, so
   * that no error is taken for the outcome.
   *
   * Work that sends several requests that change something gives each a header of its own, such
   * as `"${key}/2"`.
   *
   * @throws RefusedError, ConflictError, InProgressError, ExpiredError, UnknownOutcomeError,
   *   NetworkError; the reason of the signal.
   */
  readonly fetch: typeof fetch;
  /** Leaves interim state for other tabs, a reload, and the next attempt: a task id before the work
   *  has ended.
   *
   *  @throws StoreError where it is not known whether it was stored. */
  publish(state: unknown): Promise<void>;
}

/** {@link Work.fetch} of one attempt. `doubt` is called when a request may have been executed. */
export function workFetch(how: {
  key: string;
  /** When the key was made. */
  since: number;
  signal: AbortSignal;
  rules: RetryRules;
  clock: Clock;
  fetch: typeof fetch;
  onAttempt(attempt: Attempt): void;
  doubt(): void;
}): typeof fetch {
  const { key, since, signal, rules, clock } = how;
  return async (input, init) => {
    const request = requested(input, init, signal);
    if (!SAFE.has(request.method)) {
      if (!request.headers.has(KEY_HEADER)) request.headers.set(KEY_HEADER, keyHeader(key));
      checkWindow(since, rules, clock);
    }
    try {
      const { response, verdict } = await send(request, isStreamed(init), {
        rules,
        clock,
        since,
        fetch: how.fetch,
        onAttempt: (attempt) => {
          if (!attempt.verdict || !isRefusal(attempt.verdict)) how.doubt();
          how.onAttempt(attempt);
        },
      });
      if (verdict === "answer") return response;
      throw await errorOf(response, verdict);
    } catch (error) {
      if (request.signal.aborted) {
        how.doubt();
        throw error;
      }
      if ((error as Error)?.name !== "TypeError") throw error;
      throw new NetworkError("NETWORK", true, { cause: error });
    }
  };
}

/** Nothing is sent with a key that the server may no longer know.
 *
 *  @throws UnknownOutcomeError. */
export function checkWindow(since: number, rules: RetryRules, clock: Clock): void {
  if (inWindow(rules, clock, since)) return;
  throw new UnknownOutcomeError("WINDOW_OVER", false);
}

/** The request, which follows `signal` besides its own. */
export function requested(input: RequestInfo | URL, init?: RequestInit, signal?: AbortSignal): Request {
  const request = new Request(input, init);
  if (!signal) return request;
  // Where there is none the listeners go with the signal.
  const both = [request.signal, signal];
  return new Request(request, { signal: AbortSignal.any?.(both) ?? either(...both).signal });
}

/** Whether the body is a stream, which can be sent once. */
export function isStreamed(init: RequestInit | undefined): boolean {
  return init !== undefined && "duplex" in init;
}

/** RFC 9110, section 9.2.1. */
const SAFE = new Set(["GET", "HEAD", "OPTIONS", "TRACE"]);
