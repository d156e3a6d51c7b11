import { apply } from "../core/apply.js";
import { StoreError } from "../errors.js";
import type { SlotKey, Store, Swap, Swapped } from "../store.js";
import type { Clock } from "./clock.js";
import { goneAtOfText, slotFromText, slotToText } from "./stored-slot.js";
import { won } from "./won.js";

export interface SingleTabLocalStorageOptions {
  /** What the names of its entries begin with; `"idemp:"`. */
  prefix?: string;
  /** Milliseconds since the Unix epoch; `Date.now`. */
  now?: Clock;
  /** Where to keep them; `localStorage`. `sessionStorage` belongs to one tab by nature. */
  storage?: Storage;
}

/** The store of one tab: see {@link singleTabLocalStorage}. */
export interface SingleTabLocalStorage extends Store {
  swap(swap: Swap): Swapped;
  forget(prefix: SlotKey): void;
  /** Removes every slot that is gone, and says how many. Swaps do this bit by bit on their own. */
  purge(): number;
}

/**
 * Keeps slots in `localStorage`: they outlive the page. **For pages that are open in one tab only**,
 * such as a kiosk or an app's web view; everywhere else take `indexedDbStore`.
 *
 * `localStorage` has no step that is atomic for another tab. Browsers keep each tab's copy in the
 * tab's own process and tell the others later: measured in Chromium, two tabs that look and then set
 * both win in 157 to 299 of 300 races, and still in 37 to 127 of 300 where they do so inside an
 * exclusive Web Lock. With two tabs this store breaks the first law of a store, and then a request is sent
 * twice.
 *
 * `swap` answers at once. How soon the browser writes it to the disk is the browser's affair: a
 * killed browser may forget the last moments.
 *
 * Errors: `STORE_FULL` at the quota of some 5 million characters, after what is gone was removed;
 * `STORE_CORRUPT` where an entry is not what was put, which is never taken for a vacancy;
 * `STORE_UNUSABLE` where there is no `localStorage` or the browser refuses it.
 */
export function singleTabLocalStorage(options: SingleTabLocalStorageOptions = {}): SingleTabLocalStorage {
  const { prefix = "idemp:", now: clock = Date.now } = options;
  const open = () => options.storage ?? local();
  let next = 0;

  /** Removes this entry where it is a slot that is gone. */
  function purgeEntry(storage: Storage, name: string | null, now: number): boolean {
    if (!name?.startsWith(prefix)) return false;
    try {
      if (now < goneAtOfText(storage.getItem(name) ?? "")) return false;
    } catch {
      // Whoever asks for it is told.
      return false;
    }
    storage.removeItem(name);
    return true;
  }

  function purgeAll(storage: Storage, now: number): number {
    return namesIn(storage, prefix).filter((name) => purgeEntry(storage, name, now)).length;
  }

  function put(storage: Storage, name: string, text: string, now: number) {
    try {
      storage.setItem(name, text);
    } catch (cause) {
      // A set that is refused changes nothing, so it can be tried again if there is room.
      if (!isQuota(cause) || purgeAll(storage, now) === 0) throw refused(cause);
      try {
        storage.setItem(name, text);
      } catch (cause) {
        throw refused(cause);
      }
    }
  }

  return {
    swap(swap) {
      const storage = open();
      const name = prefix + swap.slot;
      const now = clock();
      for (let looked = 0; looked < 2; looked++) {
        if (next >= storage.length) next = 0;
        // In the place of one that went comes another.
        if (!purgeEntry(storage, storage.key(next), now)) next += 1;
      }
      const text = storage.getItem(name);
      const applied = apply(text === null ? undefined : slotFromText(text), swap, now);
      if (won(applied)) {
        if (applied.slot === undefined) storage.removeItem(name);
        else put(storage, name, slotToText(applied.slot), now);
      }
      return applied.swapped;
    },
    forget(names) {
      const storage = open();
      for (const name of namesIn(storage, prefix + names)) storage.removeItem(name);
    },
    purge: () => purgeAll(open(), clock()),
  };
}

function namesIn(storage: Storage, prefix: string): string[] {
  const names = Array.from({ length: storage.length }, (_, index) => storage.key(index));
  return names.filter((name) => name !== null).filter((name) => name.startsWith(prefix));
}

function local(): Storage {
  let cause: unknown;
  try {
    const storage = globalThis.localStorage as Storage | undefined;
    if (storage) return storage;
  } catch (error) {
    cause = error;
  }
  const advice = "there is no localStorage here, or the browser refuses it";
  throw new StoreError("STORE_UNUSABLE", { cause, advice });
}

/** Firefox has a name of its own for it. */
function isQuota(cause: unknown): boolean {
  return cause instanceof DOMException && /quota/i.test(cause.name);
}

function refused(cause: unknown): StoreError {
  if (!isQuota(cause)) return new StoreError("STORE_UNAVAILABLE", { cause });
  return new StoreError("STORE_FULL", { cause, advice: "the browser gives this origin no more room" });
}
