/** The laws hold in every store that runs in Node. */

import "../src/core/inline.js";
import { describe, test } from "node:test";
import { fromCas } from "../src/stores/from-cas.js";
import { fromLock } from "../src/stores/from-lock.js";
import { type MemoryStore, memoryStore } from "../src/stores/memory.js";
import { decodeSlot, encodeSlot } from "../src/stores/stored-slot.js";
import type { Store } from "../src/store.js";
import { conformance, type Room, type Subject } from "../src/testing/index.js";
import { inRooms } from "./rooms.js";

function holds<S extends Store>(name: string, subject: Subject<S>) {
  describe(name, () => {
    for (const law of conformance(subject)) test(law.name, law.hold);
  });
}

holds<MemoryStore>("memoryStore", {
  open: inRooms(({ now, capacity = 100_000 }) => memoryStore({ now, capacity })),
  purge: (store) => store.purge(),
});

const tick = () => new Promise<void>((done) => setImmediate(done));

/** An object store: one value a key, and an etag that is new with every write. */
class Bucket {
  readonly #objects = new Map<string, { bytes: Uint8Array; etag: number }>();
  #etags = 0;
  reachable = true;

  async get(key: string) {
    await tick();
    if (!this.reachable) throw new TypeError("fetch failed");
    return this.#objects.get(key);
  }

  async put(key: string, bytes: Uint8Array | undefined, etag: number | undefined): Promise<boolean> {
    await tick();
    if (this.#objects.get(key)?.etag !== etag) return false;
    if (bytes === undefined) this.#objects.delete(key);
    else this.#objects.set(key, { bytes, etag: ++this.#etags });
    await tick();
    return true;
  }
}

const bucket = inRooms(() => new Bucket());

function onBucket(bucket: Bucket, { now }: Room): Store {
  return fromCas<number>({
    async read(slot) {
      const found = await bucket.get(slot);
      return found && { slot: decodeSlot(found.bytes), version: found.etag };
    },
    write: (slot, next, etag) => bucket.put(slot, next && encodeSlot(next), etag),
    now,
  });
}

holds("fromCas", {
  open: (room) => onBucket(bucket(room), room),
  outOfReach(room) {
    const bucket = new Bucket();
    bucket.reachable = false;
    return onBucket(bucket, room);
  },
  limits: { unbounded: true, cannotForget: true },
});

/** A file a slot, and a lock. */
class Files {
  readonly #files = new Map<string, Uint8Array>();
  readonly #locks = new Map<string, Promise<unknown>>();

  withLock<T>(name: string, work: () => Promise<T>): Promise<T> {
    const turn = (this.#locks.get(name) ?? Promise.resolve()).then(work, work);
    this.#locks.set(name, turn);
    return turn;
  }

  async read(name: string) {
    await tick();
    return this.#files.get(name);
  }

  async write(name: string, bytes: Uint8Array | undefined) {
    await tick();
    if (bytes === undefined) this.#files.delete(name);
    else this.#files.set(name, bytes);
  }
}

const files = inRooms(() => new Files());

holds("fromLock", {
  open(room) {
    const { now } = room;
    const there = files(room);
    return fromLock({
      withLock: (slot, work) => there.withLock(slot, work),
      async read(slot) {
        const bytes = await there.read(slot);
        return bytes && decodeSlot(bytes);
      },
      write: (slot, next) => there.write(slot, next && encodeSlot(next)),
      now,
    });
  },
  outOfReach: ({ now }) =>
    fromLock({
      withLock: () => Promise.reject(new Error("the lock server is gone")),
      read: () => undefined,
      write: () => {},
      now,
    }),
  limits: { unbounded: true, cannotForget: true },
});
