import { StoreError } from "../src/errors.js";
import type { Store, Swap, Swapped } from "../src/store.js";
import { memoryStore, type MemoryStore } from "../src/stores/memory.js";

/** What becomes of a swap: it is done; it is not, and fails so; it is done, and the answer is lost; it, or
 *  its answer, waits until the store is let go on. */
export type Fate = "done" | "lost" | "full" | "corrupt" | "answer lost" | "held" | "answer held";

/** A memory store that does as it is told, and says what it did. */
export interface SwitchedStore extends Store {
  readonly inner: MemoryStore;
  /** What becomes of the next swaps, one each; then {@link always}. */
  next: Fate[];
  always: Fate;
  readonly swaps: number;
  /** Swaps that were asked for, in their order: `begin` claims or looks, `end` ends or renews. */
  readonly asked: Swap[];
  /** Lets every swap that is held go on. */
  go(): void;
  /** Resolves when so many swaps were done in all. */
  done(count: number): Promise<void>;
}

export function switchedStore(inner: MemoryStore = memoryStore()): SwitchedStore {
  const asked: Swap[] = [];
  const held: (() => void)[] = [];
  const waiting: { count: number; wake: () => void }[] = [];
  let done = 0;

  function swapped(swap: Swap): Swapped {
    const answer = inner.swap(swap);
    done++;
    for (const { count, wake } of waiting) if (done >= count) wake();
    return answer;
  }

  return {
    inner,
    next: [],
    always: "done",
    asked,
    get swaps() {
      return asked.length;
    },
    async swap(swap) {
      asked.push(swap);
      const fate = this.next.shift() ?? this.always;
      if (fate === "held") await new Promise<void>((resolve) => held.push(resolve));
      if (fate === "lost") throw new StoreError("STORE_UNAVAILABLE");
      if (fate === "full") throw new StoreError("STORE_FULL");
      if (fate === "corrupt") throw new StoreError("STORE_CORRUPT");
      const answer = swapped(swap);
      if (fate === "answer held") await new Promise<void>((resolve) => held.push(resolve));
      if (fate === "answer lost") throw new StoreError("STORE_UNAVAILABLE");
      return answer;
    },
    go() {
      for (const on of held.splice(0)) on();
    },
    done: (count) =>
      new Promise((wake) => {
        if (done >= count) wake();
        else waiting.push({ count, wake });
      }),
  };
}
