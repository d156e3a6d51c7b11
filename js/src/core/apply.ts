import type { Applied, Slot, Swap } from "../store.js";
import { APPLY, ask } from "./ask.js";
import { In, Out } from "./bytes.js";

/**
 * The definition of `swap`, decided by the Rust core: what to answer, and what lies in the slot
 * afterwards. Pure; call it where nobody else can change the slot.
 */
export function apply(slot: Slot | undefined, swap: Swap, now: number): Applied {
  const { expect, put } = swap;
  const out = new Out().number(now);
  // Neither record nor body decides anything here, so they stay at home.
  if (slot) lies(out.byte(1), slot);
  else out.byte(0);
  if (expect === "vacant") out.byte(0);
  else out.byte(1).hex(expect.rev);
  if (put === "remove") out.byte(0);
  else out.byte(1).number(put.leaseFor).number(put.keepFor);
  const from = new In(ask(APPLY, out.done()));
  switch (from.byte()) {
    case 0:
      return { swapped: { now, won: true }, slot: undefined };
    case 1: {
      const { rev, head, body } = put as Exclude<typeof put, "remove">;
      const next = { rev, leaseUntil: from.number(), goneAt: from.number(), head, body };
      return { swapped: { now, won: true }, slot: next };
    }
    case 2:
      return { swapped: { now, won: false, slot: undefined } };
    default:
      return { swapped: { now, won: false, slot } };
  }
}

/** What decides of what lies in a slot. */
export function lies(out: Out, slot: Slot): Out {
  return out.hex(slot.rev).number(slot.leaseUntil).number(slot.goneAt);
}
