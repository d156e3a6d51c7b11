/** Tells the milliseconds that went by since it was made. */
export type Stopwatch = () => number;

/** By the clock that counts more: the monotonic one stands still while the machine sleeps, and the
 *  wall clock may be set back. */
export function stopwatch(): Stopwatch {
  const steady = performance.now();
  const wall = Date.now();
  return () => Math.max(performance.now() - steady, Date.now() - wall);
}
