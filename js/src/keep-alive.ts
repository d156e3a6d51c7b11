import type { Lease } from "./lease.js";
import { LONGEST_TIMER } from "./span.js";

/** Renews until it is stopped, one renewal at a time; one that fails leaves two thirds of a lease to try
 *  again. Where it cannot be renewed any more, only the owner's beat goes on. */
export function keptAlive(lease: Lease, every: number, owner?: { beat(): void }): { stop(): void } {
  let asking: boolean | undefined;
  const renew = async () => {
    owner?.beat();
    if (asking) return;
    asking = true;
    const renewed = await lease.renew().catch(() => undefined);
    asking = renewed && renewed.type !== "held";
  };
  const timer = setInterval(() => void renew(), Math.min(every, LONGEST_TIMER));
  if (typeof timer === "object") timer.unref(); // Node: it keeps no process alive
  return { stop: () => clearInterval(timer) };
}
