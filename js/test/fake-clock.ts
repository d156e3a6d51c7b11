import type { Clock } from "../src/fetch/clock.js";

/** A clock on which nobody waits: a sleep moves it on at once, and is written down. */
export function fakeClock(random = 0.5): Clock & { slept: number[]; advance(span: number): void } {
  let now = 1_700_000_000_000;
  const slept: number[] = [];
  return {
    slept,
    advance: (span) => void (now += span),
    now: () => now,
    random: () => random,
    async sleep(span, signal) {
      if (signal.aborted) return;
      slept.push(span);
      now += span;
    },
  };
}
