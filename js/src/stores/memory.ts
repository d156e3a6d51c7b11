import { apply } from "../core/apply.js";
import { hostMemory } from "../core/registry.js";
import { StoreError } from "../errors.js";
import type { Slot, SlotKey, Store, Swap, Swapped } from "../store.js";
import { type Clock, steadyClock } from "./clock.js";
import { ownedSlot } from "./owned.js";
import { won } from "./won.js";

export interface MemoryStoreOptions {
  /** How many slots there may be at once; 100,000. */
  capacity?: number;
  /** Milliseconds since the Unix epoch; by default the wall clock read once and steady since. */
  now?: Clock;
}

/** The store of one process or page: see {@link memoryStore}. */
export interface MemoryStore extends Store {
  swap(swap: Swap): Swapped;
  forget(prefix: SlotKey): void;
  /** How many slots are held, those included that are gone and not yet collected. */
  readonly size: number;
  /** Collects every slot that is gone, and says how many. Swaps do this bit by bit on their own. */
  purge(): number;
}

/**
 * Keeps slots in the memory of this process or page: nothing outlives it, and nobody else sees it.
 * `swap` answers at once, without a promise.
 *
 * A full store throws `STORE_FULL`; it evicts nothing that is still kept. In Node it is that of the
 * addon, where there is one, unless it is given a clock.
 *
 * ```ts
 * const idem = createIdempotency({ store: memoryStore() });
 * ```
 */
export function memoryStore({ capacity = 100_000, now }: MemoryStoreOptions = {}): MemoryStore {
  if (!(capacity >= 1)) throw new RangeError("capacity is a number of slots, at least 1");
  return (now ? undefined : hostMemory(capacity)) ?? onMap(capacity, now ?? steadyClock());
}

function onMap(capacity: number, clock: Clock): MemoryStore {
  const slots = new Map<SlotKey, Kept>();
  let queue = new Queue();

  /** Drops at most so many slots that are gone, and says how many. */
  function collect(now: number, atMost: number): number {
    let collected = 0;
    while (collected < atMost) {
      const entry = queue.pop(now);
      if (entry === undefined) break;
      const kept = slots.get(entry.name);
      // The entry of a slot that was removed since.
      if (kept?.queuedAt !== entry.due) continue;
      if (now < kept.slot.goneAt) {
        // It was prolonged: look again when it is due now.
        enqueue(entry.name, kept);
      } else {
        slots.delete(entry.name);
        collected += 1;
      }
    }
    return collected;
  }

  function enqueue(name: SlotKey, kept: Kept) {
    kept.queuedAt = kept.slot.goneAt;
    queue.push({ due: kept.queuedAt, name });
    // Removed slots leave their entries behind; more of them than slots are too many.
    if (queue.size > 2 * slots.size + 64) {
      queue = new Queue();
      for (const [name, { queuedAt }] of slots) queue.push({ due: queuedAt, name });
    }
  }

  function put(name: SlotKey, slot: Slot, now: number) {
    const kept = slots.get(name);
    if (kept !== undefined) {
      // Deadlines never move back, so the entry in the queue comes early enough; save where the
      // slot was gone, and its name begins anew.
      kept.slot = ownedSlot(slot);
      if (slot.goneAt < kept.queuedAt) enqueue(name, kept);
    } else {
      if (slots.size >= capacity && collect(now, Infinity) === 0) throw new StoreError("STORE_FULL");
      const added = { slot: ownedSlot(slot), queuedAt: 0 };
      slots.set(name, added);
      enqueue(name, added);
    }
  }

  return {
    swap(swap) {
      const now = clock();
      collect(now, 2);
      const applied = apply(slots.get(swap.slot)?.slot, swap, now);
      if (!won(applied)) {
        const { slot } = applied.swapped;
        return { now, won: false, slot: slot && ownedSlot(slot) };
      }
      if (applied.slot === undefined) slots.delete(swap.slot);
      else put(swap.slot, applied.slot, now);
      return applied.swapped;
    },
    forget(prefix) {
      for (const name of slots.keys()) if (name.startsWith(prefix)) slots.delete(name);
    },
    get size() {
      return slots.size;
    },
    purge: () => collect(clock(), Infinity),
  };
}

interface Kept {
  slot: Slot;
  /** The time of its one valid entry in the queue. */
  queuedAt: number;
}

/** When to look at a slot again: a binary heap, what is due first on top. */
class Queue {
  readonly #heap: Entry[] = [];

  get size(): number {
    return this.#heap.length;
  }

  push(entry: Entry): void {
    const heap = this.#heap;
    let at = heap.length;
    while (at > 0) {
      const above = heap[(at - 1) >> 1] as Entry;
      if (above.due <= entry.due) break;
      heap[at] = above;
      at = (at - 1) >> 1;
    }
    heap[at] = entry;
  }

  /** Takes the entry that is due first, if it is by now. */
  pop(now: number): Entry | undefined {
    const heap = this.#heap;
    const top = heap[0];
    if (top === undefined || now < top.due) return undefined;
    const last = heap.pop() as Entry;
    const size = heap.length;
    for (let at = 0, below = 1; size > 0; at = below, below = 2 * at + 1) {
      if (below + 1 < size && (heap[below + 1] as Entry).due < (heap[below] as Entry).due) below += 1;
      if (below >= size || (heap[below] as Entry).due >= last.due) {
        heap[at] = last;
        break;
      }
      heap[at] = heap[below] as Entry;
    }
    return top;
  }
}

interface Entry {
  readonly due: number;
  readonly name: SlotKey;
}
