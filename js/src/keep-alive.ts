import type { Lease } from "./lease.js";
import { LONGEST_TIMER } from "./span.js";

/** Renews until it is stopped, one renewal at a time; one that fails leaves two thirds of a lease to try
 *  again. */
export function keptAlive(lease: Lease, every: number): { stop(): void } {
  let asking = false;
  const renew = async () => {
    if (asking) return;
    asking = true;
    const renewed = await lease.renew().catch(() => undefined);
    asking = false;
    if (renewed && renewed.type !== "held") clearInterval(timer);
  };
  const timer = setInterval(() => void renew(), Math.min(every, LONGEST_TIMER));
  if (typeof timer === "object") timer.unref(); // Node: it keeps no process alive
  return { stop: () => clearInterval(timer) };
}
