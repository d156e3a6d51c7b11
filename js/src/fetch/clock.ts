import { LONGEST_TIMER } from "../span.js";

/** Time and chance, in one place, so that tests need not wait. */
export interface Clock {
  /** Milliseconds since the Unix epoch. */
  now(): number;
  /** A number of at least 0 and below 1. */
  random(): number;
  /** Ends after so many milliseconds, or without an error as soon as `signal` aborts. */
  sleep(milliseconds: number, signal: AbortSignal): Promise<void>;
}

/** The clock of this machine. */
export const systemClock: Clock = {
  now: () => Date.now(),
  random: () => Math.random(),
  sleep: (milliseconds, signal) =>
    new Promise((resolve) => {
      if (signal.aborted) return resolve();
      const over = () => {
        clearTimeout(timer);
        signal.removeEventListener("abort", over);
        resolve();
      };
      const timer = setTimeout(over, Math.min(milliseconds, LONGEST_TIMER));
      signal.addEventListener("abort", over);
    }),
};

/** Aborts with the first of these signals, or on its own. `off` forgets the signals. */
export function either(...signals: (AbortSignal | null | undefined)[]) {
  const controller = new AbortController();
  const { signal } = controller;
  const offs = signals.map((one) => {
    const abort = () => controller.abort(one!.reason);
    if (one?.aborted) abort();
    one?.addEventListener("abort", abort);
    return () => one?.removeEventListener("abort", abort);
  });
  return {
    signal,
    abort: (reason?: unknown): void => controller.abort(reason),
    off(): void {
      for (const off of offs) off();
    },
  };
}
