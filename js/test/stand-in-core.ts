import { type Core, useCore } from "../src/core/registry.js";
const NIL = "0".repeat(32);
const core: Core = {
  apply(slot, { expect, put }, now) {
    const there = slot !== undefined && now < slot.goneAt ? slot : undefined;
    const held = expect === "vacant" ? there === undefined : there !== undefined && there.rev === expect.rev && expect.rev !== NIL;
    if (!held) return { swapped: { now, won: false, slot: there } };
    if (put === "remove") return { swapped: { now, won: true }, slot: undefined };
    const leaseUntil = put.leaseFor === 0 ? now : Math.max(there?.leaseUntil ?? 0, now + put.leaseFor);
    const goneAt = Math.max(there?.goneAt ?? 0, now + put.keepFor);
    return { swapped: { now, won: true }, slot: { rev: put.rev, leaseUntil, goneAt, head: put.head, body: put.body } };
  },
};
useCore(core);
