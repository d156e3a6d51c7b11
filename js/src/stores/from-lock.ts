import { apply } from "../core/apply.js";
import { core } from "../core/registry.js";
import type { Slot, SlotKey, Store, Swap, Swapped } from "../store.js";
import type { Clock } from "./clock.js";
import { reached } from "./reached.js";
import { won } from "./won.js";

/** A backend that can lock a slot: see {@link fromLock}. */
export interface LockBackend {
  /** Runs `work` while nobody else's runs for the same slot, and answers with what it gives. */
  withLock<T>(slot: SlotKey, work: () => Promise<T>): Promise<T>;
  /** What lies there; `undefined` only where the backend says that nothing does. */
  read(slot: SlotKey): Slot | undefined | Promise<Slot | undefined>;
  /** Puts, or removes where `next` is `undefined`; durable when it answers. */
  write(slot: SlotKey, next: Slot | undefined): void | Promise<void>;
  /**
   * Milliseconds since the Unix epoch; `Date.now`. It decides every deadline: where several
   * machines share the backend, take a clock that they share.
   */
  now?: Clock;
  /** Removes what begins with `prefix`; see {@link Store.forget}. */
  forget?: Store["forget"];
  /** Lets go of what the backend holds open. */
  close?: Store["close"];
}

/**
 * A store on a backend that has a lock. The lock has to give three things, or the store breaks the
 * first law and a request is executed twice:
 *
 * - **It excludes everybody** who may write the slot: every process and machine, not only the
 *   callers of this page or process.
 * - **It does not end before `work` does.** A lock with a time-out of its own, such as a key in Redis
 *   that expires, lets a second owner in while the first one stalls, unless `write` is refused then.
 * - **A read inside it sees every write made inside it before**, by whomever, and `write` is durable
 *   before the lock is given back. A Web Lock around `localStorage` is the counterexample: the lock
 *   excludes all tabs, but a tab sees what another one wrote only later, and in Chromium 37 to 127 of
 *   300 races have two winners.
 *
 * A row lock in a transaction (`SELECT … FOR UPDATE`, where the commit belongs to the lock's end),
 * a file lock around a file that is synced, or a mutex around memory do.
 *
 * ```ts
 * const store = fromLock({
 *   withLock: (slot, work) => mutex.runExclusive(slot, work),
 *   read: (slot) => file.read(slot),
 *   write: (slot, next) => file.replace(slot, next),
 * });
 * ```
 *
 * What the backend throws becomes `STORE_UNAVAILABLE`, unless it is a `StoreError` itself.
 */
export function fromLock(backend: LockBackend): Store {
  const { now = Date.now } = backend;
  const store: Store = {
    async swap(swap: Swap): Promise<Swapped> {
      core(); // where there is none, it throws here and nothing was asked
      return reached(() =>
        backend.withLock(swap.slot, async () => {
          const found = await reached(() => backend.read(swap.slot));
          const applied = apply(found, swap, now());
          if (won(applied)) await reached(() => backend.write(swap.slot, applied.slot));
          return applied.swapped;
        }),
      );
    },
  };
  if (backend.forget) store.forget = (prefix) => backend.forget?.(prefix);
  if (backend.close) store.close = () => backend.close?.();
  return store;
}
