/** The memory store, beyond the laws. */

import "../src/core/inline.js";
import assert from "node:assert/strict";
import { test } from "node:test";
import type { Swap } from "../src/store.js";
import { memoryStore } from "../src/stores/memory.js";
import { name, newSlot, read } from "../src/testing/world.js";

const claim = (slot: string, keepFor: number): Swap => ({ slot: name(slot), expect: "vacant", put: newSlot(keepFor, keepFor) });

test("a swap is answered at once, without a promise", () => {
  assert.equal(memoryStore().swap(claim("now", 1_000)).won, true);
});

test("what is gone is collected by the swaps that come, in whatever order it goes", () => {
  let now = 1_000_000;
  const store = memoryStore({ now: () => now });
  for (let number = 0; number < 1_000; number++) store.swap(claim(`old ${number}`, 1 + ((number * 7_919) % 1_000)));
  assert.equal(store.size, 1_000);
  now += 500;
  for (let number = 0; number < 300; number++) store.swap(read(name("x")));
  assert.equal(store.size, 500, "those kept for at most 500 ms are gone, and no others");
  now += 500;
  assert.equal(store.purge(), 500);
  assert.equal(store.size, 0);
});

test("a slot that is prolonged again and again is there, and is collected in the end", () => {
  let now = 1_000_000;
  const store = memoryStore({ now: () => now });
  const slot = name("prolonged");
  let put = newSlot(10, 10);
  store.swap({ slot, expect: "vacant", put });
  for (let turn = 0; turn < 100; turn++) {
    now += 9;
    const next = newSlot(10, 10);
    assert.equal(store.swap({ slot, expect: { rev: put.rev }, put: next }).won, true);
    put = next;
    store.purge();
  }
  assert.equal(store.size, 1);
  now += 10;
  assert.equal(store.purge(), 1);
});

test("a name that is taken and given back ten thousand times takes no more room than one slot", () => {
  const store = memoryStore({ capacity: 1 });
  const slot = name("churn");
  for (let turn = 0; turn < 10_000; turn++) {
    const put = newSlot(1_000, 1_000);
    assert.equal(store.swap({ slot, expect: "vacant", put }).won, true);
    assert.equal(store.swap({ slot, expect: { rev: put.rev }, put: "remove" }).won, true);
  }
  assert.equal(store.size, 0);
});

test("a full store finds the one slot that is gone, among many that were prolonged", () => {
  let now = 1_000_000;
  const store = memoryStore({ now: () => now, capacity: 100 });
  for (let number = 0; number < 100; number++) {
    const swap = claim(`seat ${number}`, 100 + number) as Swap & { put: { rev: string } };
    store.swap(swap);
    if (number !== 50) store.swap({ ...swap, expect: { rev: swap.put.rev }, put: newSlot(1_000, 1_000) });
  }
  assert.throws(() => store.swap(claim("one more", 1)), { code: "STORE_FULL" });
  now += 150;
  assert.equal(store.swap(claim("one more", 1_000)).won, true);
  assert.throws(() => store.swap(claim("two more", 1)), { code: "STORE_FULL" });
});

test("the clock stands near the wall clock, and does not go along when that is set", (t) => {
  const store = memoryStore();
  const time = () => store.swap(read(name("x"))).now;
  const before = time();
  assert.ok(Math.abs(before - Date.now()) < 1_000);
  t.mock.method(Date, "now", () => 0);
  assert.ok(time() >= before);
});

test("a capacity that is no number of slots is an error at once", () => {
  for (const capacity of [0, -1, Number.NaN]) assert.throws(() => memoryStore({ capacity }), RangeError);
});
