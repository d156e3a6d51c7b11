/** Tells the time of a store, in milliseconds since the Unix epoch. */
export type Clock = () => number;

/**
 * The wall clock read once, the monotonic clock from then on: a change of the wall clock moves no
 * deadline. For a store that ends with its process: two processes with such clocks need not agree.
 */
export function steadyClock(): Clock {
  const start = Date.now() - performance.now();
  return () => Math.floor(start + performance.now());
}
