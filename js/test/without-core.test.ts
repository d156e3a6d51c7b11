/** Before the core is there, a store asks nothing, and says what is missing. */

import assert from "node:assert/strict";
import { test } from "node:test";
import type { Store, Swap } from "../src/store.js";
import { fromCas } from "../src/stores/from-cas.js";
import { fromLock } from "../src/stores/from-lock.js";
import { indexedDbStore } from "../src/stores/indexeddb.js";
import { memoryStore } from "../src/stores/memory.js";
import { name, newSlot } from "../src/testing/world.js";

test("a swap before initialize() is no error of the store, which would be tried again", async () => {
  const asked: string[] = [];
  const ask = (what: string) => () => void asked.push(what);
  const stores: Record<string, Store> = {
    memory: memoryStore(),
    indexeddb: indexedDbStore(),
    fromCas: fromCas({ read: ask("read"), write: () => true }),
    fromLock: fromLock({ withLock: (_, work) => work(), read: ask("read"), write: ask("write") }),
  };
  const claim: Swap = { slot: name("x"), expect: "vacant", put: newSlot(1_000, 1_000) };
  for (const [kind, store] of Object.entries(stores)) {
    await assert.rejects(async () => store.swap(claim), { code: "NOT_INITIALISED" }, kind);
  }
  assert.deepEqual(asked, []);
});
