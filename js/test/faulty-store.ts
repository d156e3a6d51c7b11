/** The definition in memory, with one fault. */

import { apply } from "../src/core/apply.js";
import { StoreError } from "../src/errors.js";
import type { Applied, NewSlot, Slot, SlotKey, Store, Swap, Swapped } from "../src/store.js";
import type { Room, Subject } from "../src/testing/index.js";
import { inRooms } from "./rooms.js";

/** What is wrong with a store. */
export type Fault =
  | "none"
  // Of more than one client.
  | "reads, then writes"
  | "hands back what it read before"
  | "reads from its own memory"
  | "forgets when it is closed"
  // Of winning.
  | "claims what has lapsed"
  | "takes any revision"
  | "takes the nil revision"
  | "keeps the old head"
  | "keeps the old body"
  | "removes nothing"
  | "counts spans in seconds"
  | "goes a millisecond late"
  | "goes a millisecond early"
  | "moves deadlines back"
  | "keeps a lease that is given up"
  | "goes by a clock of its own"
  // Of losing.
  | "loses to nothing"
  | "loses to what is gone"
  | "loses and puts"
  | "loses and prolongs"
  | "finds null"
  // Of keeping.
  | "purges with the lease"
  | "purges by name"
  | "miscounts what it purges"
  | "evicts the oldest"
  | "is never full"
  | "is unavailable when full"
  | "forgets too much"
  | "forgets only what has lapsed"
  // Of bytes.
  | "cuts at a zero"
  | "reads bytes as text"
  | "cuts at 64 KiB"
  | "takes nothing for absent"
  | "clones the whole buffer"
  | "keeps the caller's arrays"
  | "lends its own arrays"
  | "copies with slice"
  // Of errors.
  | "is vacant when out of reach"
  | "throws what it caught"
  | "shows the key"
  | "shows the body"
  // Of names.
  | "joins parts"
  | "folds case"
  | "cuts names"
  | "forgets the scope"
  | "matches by prefix"
  // Of trips.
  | "takes two trips";

export function faulty(fault: Fault): Subject<FaultyStore> {
  const records = inRooms(() => new Map<SlotKey, Slot>());
  return {
    open: (room) => new FaultyStore(fault, records(room), room),
    purge: (store) => store.purge(),
    outOfReach: (room) => new FaultyStore(fault, undefined, room),
    trips: ({ trips }) => trips,
  };
}

export class FaultyStore implements Store {
  trips = 0;
  readonly #own = new Map<SlotKey, Slot>();

  constructor(
    readonly fault: Fault,
    readonly records: Map<SlotKey, Slot> | undefined,
    readonly room: Room,
  ) {}

  async swap(swap: Swap): Promise<Swapped> {
    this.trips += this.fault === "takes two trips" && swap.put !== "remove" ? 2 : 1;
    const { fault, records } = this;
    if (records === undefined) return this.#unreachable(swap);
    const now = fault === "goes by a clock of its own" ? Date.now() + 7_000 : this.room.now();
    const name = this.#name(swap.slot);
    if (fault === "reads from its own memory" && this.#own.has(name)) return this.#swapIn(this.#own, name, swap, now);
    const before = records.get(name);
    // A turn in which others may come between.
    if (fault === "reads, then writes") await null;
    const answer = fault === "reads, then writes" ? this.#write(records, name, before, swap, now) : this.#swapIn(records, name, swap, now);
    if (fault === "hands back what it read before" && !answer.won && swap.put !== "remove") {
      await null;
      return { ...answer, slot: this.#last.get(name) };
    }
    this.#last.set(name, before);
    if (fault === "reads from its own memory" && answer.won) {
      const there = records.get(name);
      if (there) this.#own.set(name, there);
    }
    return answer;
  }

  readonly #last = new Map<SlotKey, Slot | undefined>();

  close(): void {
    if (this.fault === "forgets when it is closed") this.records?.clear();
  }

  forget(prefix: SlotKey): void {
    for (const [name, { leaseUntil }] of this.records ?? []) {
      const begins = this.fault === "forgets too much" ? name.startsWith(prefix.slice(0, -4)) : name.startsWith(prefix);
      const live = this.fault === "forgets only what has lapsed" && this.room.now() < leaseUntil;
      if (begins && !live) this.records?.delete(name);
    }
  }

  async purge(): Promise<number> {
    const { fault, records } = this;
    const gone = (slot: Slot | undefined) =>
      slot !== undefined && (fault === "purges with the lease" ? slot.leaseUntil : slot.goneAt) <= this.room.now();
    const names = [...(records ?? [])].filter(([, slot]) => gone(slot)).map(([name]) => name);
    if (fault === "purges by name") for (let turn = 0; turn < 4; turn++) await null;
    let purged = 0;
    for (const name of names) {
      if (fault === "purges by name" || gone(records?.get(name))) purged += Number(records?.delete(name));
    }
    return fault === "miscounts what it purges" ? Math.floor(purged / 2) : purged;
  }

  #swapIn(records: Map<SlotKey, Slot>, name: SlotKey, swap: Swap, now: number): Swapped {
    return this.#write(records, name, records.get(name), swap, now);
  }

  #write(records: Map<SlotKey, Slot>, name: SlotKey, before: Slot | undefined, swap: Swap, now: number): Swapped {
    const applied = this.#apply(before, swap, now);
    if (!applied.swapped.won) return this.#lost(records, name, before, swap, applied.swapped);
    const { slot } = applied as { slot: Slot | undefined };
    if (slot === undefined) {
      if (this.fault !== "removes nothing") records.delete(name);
      return applied.swapped;
    }
    if (before === undefined) this.#makeRoom(records, now);
    records.set(name, this.#spoilt(slot, before, swap.put as NewSlot, now));
    if (this.fault === "takes nothing for absent" && slot.body.length === 0) records.delete(name);
    return applied.swapped;
  }

  /** What `apply` does, of a slot as the fault sees it. */
  #apply(before: Slot | undefined, swap: Swap, now: number): Applied {
    const { fault } = this;
    const isRead = swap.expect !== "vacant" && /^0+$/.test(swap.expect.rev);
    let there = before;
    let asked = swap;
    if (there !== undefined) {
      if (fault === "claims what has lapsed" && swap.expect === "vacant" && there.leaseUntil <= now) there = undefined;
      else if (fault === "takes any revision" && swap.expect !== "vacant" && !isRead) there = { ...there, rev: swap.expect.rev };
      else if (fault === "goes a millisecond late") there = { ...there, goneAt: there.goneAt + 1 };
      else if (fault === "goes a millisecond early") there = { ...there, goneAt: there.goneAt - 1 };
      else if (fault === "takes the nil revision" && isRead && now < there.goneAt) asked = { ...swap, expect: { rev: there.rev } };
    }
    if (fault === "counts spans in seconds" && swap.put !== "remove") {
      const { leaseFor, keepFor } = swap.put;
      const seconds = (span: number) => Math.floor(span / 1000) * 1000;
      asked = { ...asked, put: { ...swap.put, leaseFor: seconds(leaseFor), keepFor: seconds(keepFor) } };
    }
    return apply(there, asked, now);
  }

  #lost(records: Map<SlotKey, Slot>, name: SlotKey, before: Slot | undefined, swap: Swap, answer: Swapped & { won: false }): Swapped {
    const { fault } = this;
    const isRead = swap.expect !== "vacant" && /^0+$/.test(swap.expect.rev);
    let slot = answer.slot && before;
    if (fault === "loses to nothing" && !isRead) slot = undefined;
    if (fault === "loses to what is gone") slot = before;
    if (fault === "finds null") slot ??= null as unknown as undefined;
    if (before !== undefined && answer.slot !== undefined && !isRead) {
      if (fault === "loses and puts" && swap.put !== "remove") records.set(name, { ...before, body: swap.put.body });
      if (fault === "loses and prolongs") records.set(name, { ...before, goneAt: before.goneAt + 1 });
    }
    if (slot && fault === "clones the whole buffer") slot = { ...slot, head: new Uint8Array(slot.head.buffer), body: new Uint8Array(slot.body.buffer) };
    if (slot && fault !== "lends its own arrays") slot = { ...slot, head: new Uint8Array(slot.head), body: new Uint8Array(slot.body) };
    return { ...answer, slot };
  }

  #spoilt(slot: Slot, before: Slot | undefined, put: NewSlot, now: number): Slot {
    const copy = (bytes: Uint8Array) => {
      if (this.fault === "keeps the caller's arrays" || this.fault === "clones the whole buffer") return bytes;
      return this.fault === "copies with slice" ? bytes.slice() : new Uint8Array(bytes);
    };
    const kept = { ...slot, head: copy(slot.head), body: copy(slot.body) };
    switch (this.fault) {
      case "keeps the old head":
        return { ...kept, head: before?.head ?? kept.head };
      case "keeps the old body":
        return { ...kept, body: before?.body ?? kept.body };
      case "moves deadlines back":
        return { ...kept, leaseUntil: now + put.leaseFor, goneAt: now + put.keepFor };
      case "keeps a lease that is given up":
        return { ...kept, leaseUntil: Math.max(before?.leaseUntil ?? 0, kept.leaseUntil) };
      case "cuts at a zero": {
        const end = kept.body.indexOf(0);
        return { ...kept, body: kept.body.slice(0, end < 0 ? undefined : end) };
      }
      case "reads bytes as text":
        return { ...kept, body: new TextEncoder().encode(new TextDecoder().decode(kept.body)) };
      case "cuts at 64 KiB":
        return { ...kept, body: kept.body.slice(0, 65_535) };
      default:
        return kept;
    }
  }

  #makeRoom(records: Map<SlotKey, Slot>, now: number) {
    const capacity = this.room.capacity ?? Infinity;
    if (records.size < capacity || this.fault === "is never full") return;
    for (const [name, { goneAt }] of records) if (goneAt <= now) records.delete(name);
    if (records.size < capacity) return;
    if (this.fault === "is unavailable when full") throw new StoreError("STORE_UNAVAILABLE");
    if (this.fault !== "evicts the oldest") throw new StoreError("STORE_FULL");
    records.delete([...records.keys()][0] as SlotKey);
  }

  /** The name that the slot goes by. */
  #name(slot: SlotKey): SlotKey {
    const bytes = Buffer.from(slot, "hex");
    const parts: string[] = [];
    let at = 1;
    for (let part = 0; part < (bytes[0] as number); part++) {
      const end = at + 2 + bytes.readUInt16BE(at);
      parts.push(bytes.toString("utf8", at + 2, end));
      at = end;
    }
    const key = bytes.toString("utf8", at);
    switch (this.fault) {
      case "joins parts":
        return [...parts, key].join(":");
      case "folds case":
        return Buffer.from(bytes.toString("utf8").toLowerCase()).toString("hex");
      case "cuts names":
        return slot.slice(0, 400);
      case "forgets the scope":
        return key;
      case "matches by prefix":
        return [...(this.records ?? new Map()).keys()].find((name) => name.startsWith(slot)) ?? slot;
      default:
        return slot;
    }
  }

  #unreachable(swap: Swap): Swapped {
    const cut = Buffer.from(swap.slot, "hex").subarray(-29).toString();
    switch (this.fault) {
      case "is vacant when out of reach":
        return { now: this.room.now(), won: false, slot: undefined };
      case "throws what it caught":
        throw new TypeError("fetch failed");
      case "shows the key":
        throw new StoreError("STORE_UNAVAILABLE", { cause: new Error(`no answer about ${cut}`) });
      case "shows the body":
        throw Object.assign(new StoreError("STORE_UNAVAILABLE"), { swap });
      default:
        throw new StoreError("STORE_UNAVAILABLE");
    }
  }
}
