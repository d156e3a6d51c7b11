import { apply } from "../core/apply.js";
import { core } from "../core/registry.js";
import { StoreError } from "../errors.js";
import type { Slot, SlotKey, Store, Swap, Swapped } from "../store.js";
import type { Clock } from "./clock.js";
import { reached } from "./reached.js";
import { won } from "./won.js";

/** A backend that can write where nobody else has written since: see {@link fromCas}. */
export interface CasBackend<Version> {
  /** What lies there, and its version; `undefined` only where the backend says that nothing does. */
  read(slot: SlotKey): Found<Version> | undefined | Promise<Found<Version> | undefined>;
  /**
   * Replaces what lies there by `next`, or removes it where `next` is `undefined`, if and only if
   * it is of this `version`; where `version` is `undefined`, if nothing lies there. One atomic step
   * for every client, durable when it answers. `false`: somebody was faster, and nothing changed.
   * Whatever else goes wrong has to throw.
   */
  write(slot: SlotKey, next: Slot | undefined, version: Version | undefined): boolean | Promise<boolean>;
  /**
   * Milliseconds since the Unix epoch; `Date.now`. It decides every deadline: where several
   * machines share the backend, take a clock that they share.
   */
  now?: Clock;
  /** How often a swap may read and write before it gives up with `STORE_UNAVAILABLE`; 5 times. */
  attempts?: number;
  /** Removes what begins with `prefix`; see {@link Store.forget}. */
  forget?: Store["forget"];
  /** Lets go of what the backend holds open. */
  close?: Store["close"];
}

/** What {@link CasBackend.read} found. */
export interface Found<Version> {
  readonly slot: Slot;
  /** Another one for every state: an etag, a generation, a row version. */
  readonly version: Version;
}

/**
 * A store on a backend that has compare-and-swap: an object store with `If-Match`, a key-value store
 * with versions, a document database with etags.
 *
 * A read has to be of the latest state (not of a replica that lags, nor of a cache): a stale read
 * costs an attempt where the swap writes, and is a wrong answer where it loses. Records that are
 * gone may be removed by the backend at `goneAt` or later, never before.
 *
 * ```ts
 * const store = fromCas({
 *   async read(slot) {
 *     const found = await bucket.get(slot);
 *     return found && { slot: decodeSlot(found.bytes), version: found.etag };
 *   },
 *   write: (slot, next, etag) =>
 *     next === undefined ? bucket.delete(slot, { etag }) : bucket.put(slot, encodeSlot(next), { etag }),
 * });
 * ```
 *
 * What the backend throws becomes `STORE_UNAVAILABLE`, unless it is a `StoreError` itself.
 */
export function fromCas<Version>(backend: CasBackend<Version>): Store {
  const { now = Date.now, attempts = 5 } = backend;
  const store: Store = {
    async swap(swap: Swap): Promise<Swapped> {
      core(); // where there is none, it throws here and nothing was asked
      for (let attempt = 0; attempt < attempts; attempt++) {
        const found = await reached(() => backend.read(swap.slot));
        const applied = apply(found?.slot, swap, now());
        // To remove what is not there is nothing to do.
        if (!won(applied) || (applied.slot === undefined && found === undefined)) return applied.swapped;
        const { slot, swapped } = applied;
        if (await reached(() => backend.write(swap.slot, slot, found?.version))) return swapped;
      }
      throw new StoreError("STORE_UNAVAILABLE", { advice: `others were faster ${attempts} times` });
    },
  };
  if (backend.forget) store.forget = (prefix) => backend.forget?.(prefix);
  if (backend.close) store.close = () => backend.close?.();
  return store;
}
