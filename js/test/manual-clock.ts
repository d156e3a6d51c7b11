import { setImmediate } from "node:timers/promises";

import type { Clock } from "../src/fetch/clock.js";

/** A clock that stands still until it is moved on. */
export interface ManualClock extends Clock {
  /** Moves it on by whole milliseconds, and wakes whose time has come, in turn, each before the next. Back,
   *  it wakes nobody. */
  advance(span: number): Promise<void>;
  /** How many sleep. */
  readonly sleepers: number;
}

export function manualClock(): ManualClock {
  let now = 1_700_000_000_000;
  const asleep = new Set<{ until: number; wake: () => void }>();
  return {
    now: () => now,
    random: () => 0.5,
    sleep: (span, signal) =>
      new Promise((resolve) => {
        if (signal.aborted) return resolve();
        const sleeper = {
          until: now + span,
          wake: () => {
            asleep.delete(sleeper);
            signal.removeEventListener("abort", sleeper.wake);
            resolve();
          },
        };
        asleep.add(sleeper);
        signal.addEventListener("abort", sleeper.wake);
      }),
    async advance(span) {
      const end = now + span;
      for (;;) {
        const [next] = [...asleep].sort((a, b) => a.until - b.until);
        if (!next || next.until > end) break;
        now = Math.max(now, Math.ceil(next.until));
        next.wake();
        // What it does next may be to sleep again.
        await setImmediate();
        await setImmediate();
      }
      now = end;
    },
    get sleepers() {
      return asleep.size;
    },
  };
}
