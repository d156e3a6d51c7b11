/** Stores from a backend that has a compare-and-swap, or a lock: what the laws do not say. */

import "../src/core/inline.js";
import assert from "node:assert/strict";
import { test } from "node:test";
import { StoreError } from "../src/errors.js";
import type { Slot, Swap } from "../src/store.js";
import { type CasBackend, fromCas } from "../src/stores/from-cas.js";
import { fromLock } from "../src/stores/from-lock.js";
import { indexedDbStore } from "../src/stores/indexeddb.js";
import { singleTabLocalStorage } from "../src/stores/local-storage.js";
import { name, newSlot } from "../src/testing/world.js";

const claim = (): Swap => ({ slot: name("x"), expect: "vacant", put: newSlot(1_000, 1_000) });

function backend(write: CasBackend<number>["write"]) {
  const counted = { reads: 0, writes: 0 };
  const store = fromCas<number>({
    read() {
      counted.reads += 1;
      return undefined;
    },
    write(slot, next, version) {
      counted.writes += 1;
      return write(slot, next, version);
    },
  });
  return { store, counted };
}

test("a compare-and-swap that is always too late ends, and the outcome is unknown", async () => {
  const { store, counted } = backend(() => false);
  await assert.rejects(async () => store.swap(claim()), { code: "STORE_UNAVAILABLE", retryable: true });
  assert.deepEqual(counted, { reads: 5, writes: 5 });
});

test("a compare-and-swap that was too late once asks again", async () => {
  let tries = 0;
  const { store, counted } = backend(() => ++tries === 2);
  assert.equal((await store.swap(claim())).won, true);
  assert.deepEqual(counted, { reads: 2, writes: 2 });
});

test("a write that fails is not tried again: it may have happened", async () => {
  const lost = new Error("the connection was reset");
  const { store, counted } = backend(() => {
    throw lost;
  });
  await assert.rejects(async () => store.swap(claim()), (error: StoreError) => error.code === "STORE_UNAVAILABLE" && error.cause === lost);
  assert.deepEqual(counted, { reads: 1, writes: 1 });
});

test("an error of a store stays what it is", async () => {
  const corrupt = new StoreError("STORE_CORRUPT");
  const throws = () => {
    throw corrupt;
  };
  const cas = fromCas({ read: throws, write: () => true });
  const lock = fromLock({ withLock: (_, work) => work(), read: throws, write: () => {} });
  for (const store of [cas, lock]) await assert.rejects(async () => store.swap(claim()), (error) => error === corrupt);
});

test("the version that was read is the version that is written against, and none where nothing lay", async () => {
  const versions: unknown[] = [];
  let there: { slot: Slot; version: string } | undefined;
  const store = fromCas<string>({
    read: () => there,
    write(_, next, version) {
      versions.push(version);
      there = next && { slot: next, version: `etag ${versions.length}` };
      return true;
    },
  });
  const first = claim();
  await store.swap(first);
  await store.swap({ ...first, expect: { rev: (first.put as { rev: string }).rev }, put: "remove" });
  assert.deepEqual(versions, [undefined, "etag 1"]);
});

test("what is read and written happens inside the lock, and nowhere else", async () => {
  const story: string[] = [];
  const store = fromLock({
    async withLock(_, work) {
      story.push("locked");
      const done = await work();
      story.push("unlocked");
      return done;
    },
    read: () => void story.push("read"),
    write: () => void story.push("written"),
  });
  assert.equal((await store.swap(claim())).won, true);
  assert.deepEqual(story, ["locked", "read", "written", "unlocked"]);
});

test("a backend's forget and close are the store's; where it has none, neither has the store", async () => {
  const story: string[] = [];
  const also = { forget: (prefix: string) => void story.push(`forget ${prefix}`), close: () => void story.push("close") };
  const read = () => undefined;
  for (const store of [
    fromCas({ read, write: () => true, ...also }),
    fromLock({ withLock: (_, work) => work(), read, write: () => {}, ...also }),
  ]) {
    await store.forget?.("ab");
    await store.close?.();
  }
  assert.deepEqual(story, ["forget ab", "close", "forget ab", "close"]);
  assert.equal("forget" in fromCas({ read, write: () => true }), false);
});

test("a browser's stores can be made where there is no browser, and say so when they are asked", async () => {
  await assert.rejects(async () => indexedDbStore().swap(claim()), { code: "STORE_UNUSABLE", retryable: false });
  assert.throws(() => singleTabLocalStorage().swap(claim()), { code: "STORE_UNUSABLE" });
  assert.equal(await indexedDbStore().persist(), false);
  await indexedDbStore().close?.();
});
