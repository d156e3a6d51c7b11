/** The shared vectors of `apply`. */
import { readFileSync } from "node:fs";
import type { Slot, Swap, Swapped } from "idemp";

/** A question to what lies there, and what has to come of it. */
export interface Case {
  readonly name: string;
  readonly slot: Slot | undefined;
  readonly now: number;
  readonly swap: Swap;
  readonly reply: Swapped;
  readonly after: Slot | undefined;
}

export function vectors(): Case[] {
  const text = readFileSync(new URL("../../vectors/apply.json", import.meta.url), "utf8");
  return (JSON.parse(text) as Written[]).map(({ name, slot, now, swap, reply, slot_after }) => ({
    name,
    slot: slotOf(slot),
    now,
    swap: swapOf(swap),
    reply: reply.verdict === "won" ? { now, won: true } : { now, won: false, slot: slotOf(reply.verdict.lost) },
    after: slotOf(slot_after),
  }));
}

interface Written {
  readonly name: string;
  readonly slot: WrittenSlot | null;
  readonly now: number;
  readonly swap: WrittenSwap;
  readonly reply: { readonly now: number; readonly verdict: "won" | { readonly lost: WrittenSlot | null } };
  readonly slot_after: WrittenSlot | null;
}

interface WrittenSlot {
  readonly rev: string;
  readonly lease_until: number;
  readonly gone_at: number;
  readonly head: string;
  readonly body: string;
}

interface WrittenSwap {
  readonly slot: string;
  readonly expect: Swap["expect"];
  readonly put: "remove" | { readonly slot: { readonly rev: string; readonly lease_for_ms: number; readonly keep_for_ms: number; readonly head: string; readonly body: string } };
}

/** Plain arrays: what a store answers is compared with them. */
const bytes = (hex: string) => new Uint8Array(Buffer.from(hex, "hex"));

function slotOf(slot: WrittenSlot | null): Slot | undefined {
  if (!slot) return undefined;
  const { rev, lease_until: leaseUntil, gone_at: goneAt, head, body } = slot;
  return { rev, leaseUntil, goneAt, head: bytes(head), body: bytes(body) };
}

function swapOf({ slot, expect, put }: WrittenSwap): Swap {
  if (put === "remove") return { slot, expect, put };
  const { rev, lease_for_ms: leaseFor, keep_for_ms: keepFor, head, body } = put.slot;
  return { slot, expect, put: { rev, leaseFor, keepFor, head: bytes(head), body: bytes(body) } };
}
