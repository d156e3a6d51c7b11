import { apply } from "../core/apply.js";
import { core } from "../core/registry.js";
import { StoreError } from "../errors.js";
import type { Applied, Slot, SlotKey, Store, Swap, Swapped } from "../store.js";
import type { Clock } from "./clock.js";
import { whole } from "./owned.js";
import { won } from "./won.js";

export interface IndexedDbStoreOptions {
  /** The name of the database; `"idemp"`. Every page of the origin that gives it meets there. */
  name?: string;
  /** How long IndexedDB may take for an answer, in milliseconds; 10,000. Then the outcome is unknown. */
  timeout?: number;
  /** Milliseconds since the Unix epoch; `Date.now`. See {@link indexedDbStore} before you change it. */
  now?: Clock;
}

/** The store of a browser: see {@link indexedDbStore}. */
export interface IndexedDbStore extends Store {
  swap(swap: Swap): Promise<Swapped>;
  /** Removes every slot whose name begins with `prefix`, live ones too. */
  forget(prefix: SlotKey): Promise<void>;
  /**
   * Asks the browser never to evict what this origin stores, and says whether it will not. It may
   * ask the person; it never throws. Only a page can ask: in a worker the answer is `false`.
   */
  persist(): Promise<boolean>;
  /** Removes every slot that is gone, and says how many. Swaps do this now and then on their own. */
  purge(): Promise<number>;
  /** Lets go of the database; what is asked afterwards is refused with `STORE_CLOSED`. */
  close(): Promise<void>;
}

/**
 * Keeps slots in IndexedDB: they outlive the page, and all tabs and workers of the origin share
 * them. A swap is one readwrite transaction of strict durability, and is answered when that is
 * complete, so two tabs that claim one slot never both win.
 *
 * Nothing is opened before the first swap, so the store can be made where there is no IndexedDB,
 * such as on a server. The connection closes when another tab deletes or upgrades the database, and
 * the next swap opens it again.
 *
 * It goes by the wall clock, read with every transaction, since that is the one clock that all tabs
 * of a machine share: a clock of each page's own would let two tabs disagree on whether a lease is
 * live. Where a person sets the clock forward, leases and slots end that much earlier; where it is
 * set back, later. No deadline moves back.
 *
 * Errors: `STORE_FULL` at the browser's quota, after what is gone was removed; `STORE_UNUSABLE`
 * where there is no IndexedDB, the browser refuses it, or the database belongs to a newer version of
 * the page; `STORE_CORRUPT` where an entry is not what was put; `STORE_UNAVAILABLE` for all else.
 * All of them mean that the outcome is unknown.
 */
export function indexedDbStore(options: IndexedDbStoreOptions = {}): IndexedDbStore {
  const { name = "idemp", timeout = 10_000, now = Date.now } = options;
  let connection: Promise<IDBDatabase> | undefined;
  let closed = false;
  let winsUntilPurge = 1;

  function connect(): Promise<IDBDatabase> {
    if (closed) return Promise.reject(new StoreError("STORE_CLOSED"));
    if (connection === undefined) {
      const lost = () => {
        if (connection === opening) connection = undefined;
      };
      const opening = open(name, lost);
      opening.catch(lost);
      connection = opening;
    }
    return connection;
  }

  async function begin(durability: IDBTransactionDurability): Promise<IDBTransaction> {
    const start = (database: IDBDatabase) => database.transaction(SLOTS, "readwrite", { durability });
    const used = connect();
    const database = await used;
    try {
      return start(database);
    } catch (error) {
      if (!(error instanceof DOMException) || error.name !== "InvalidStateError") throw error;
      // It was closed this moment, and the event that says so is still to come. Nothing was asked yet.
      if (connection === used) connection = undefined;
      return start(await connect());
    }
  }

  /** Runs `work`, and is answered with what it made of its last result, once that is durable. */
  function transact<T>(durability: IDBTransactionDurability, work: (slots: IDBObjectStore, on: On<T>) => void) {
    return new Promise<T>((resolve, reject) => {
      let transaction: IDBTransaction | undefined;
      let over = false;
      const end = () => {
        clearTimeout(timer);
        over = true;
      };
      const fail = (error: unknown) => {
        end();
        reject(error instanceof DOMException ? failed(error) : error);
        try {
          transaction?.abort();
        } catch {
          // It was on its way already, or is aborted.
        }
      };
      const timer = setTimeout(() => fail(unavailable(`no answer within ${timeout} ms`)), timeout);
      begin(durability).then((begun) => {
        transaction = begun;
        if (over) return begun.abort();
        let answer: T;
        begun.oncomplete = () => {
          end();
          resolve(answer);
        };
        // An error of a request aborts, and is then the transaction's.
        begun.onabort = () => fail(begun.error ?? unavailable("the browser ended the transaction"));
        work(begun.objectStore(SLOTS), (request, then) => {
          request.onsuccess = () => {
            try {
              answer = then(request.result);
            } catch (error) {
              fail(error);
            }
          };
        });
      }).catch(fail);
    });
  }

  function swapOnce(swap: Swap): Promise<Swapped> {
    core(); // where there is none, it throws here and not within a transaction
    return swap.expect === "vacant" && swap.put !== "remove" ? claim(swap) : replace(swap);
  }

  /** Looks, and puts what `apply` says. */
  function replace(swap: Swap): Promise<Swapped> {
    return transact("strict", (slots, on) =>
      on(slots.get(swap.slot), (found) => {
        const applied = apply(read(found), swap, now());
        if (won(applied)) {
          if (applied.slot === undefined) slots.delete(swap.slot);
          else slots.put(written(applied.slot), swap.slot);
        }
        commit(slots);
        return applied.swapped;
      }),
    );
  }

  /**
   * Looks, adds what `apply` says of nothing, and commits, all in one turn with the database. Where
   * something lies there IndexedDB refuses to add and undoes all of it, and what was seen is judged.
   *
   * Its deadlines count from here, also where the transaction has to wait for others: what comes late,
   * after a time-out even, holds the slot for that much less.
   */
  async function claim(swap: Swap): Promise<Swapped> {
    const free = apply(undefined, swap, now()) as Extract<Applied, { slot: unknown }>;
    let found: Partial<Slot> | undefined;
    try {
      return await transact("strict", (slots, on) => {
        on(slots.get(swap.slot), (there) => {
          found = there;
          return free.swapped;
        });
        slots.add(written(free.slot as Slot), swap.slot);
        commit(slots);
      });
    } catch (error) {
      // A full database says so before it looks, and has undone all of it.
      if (isFull(error)) return replace(swap);
      // Where something lay there, nothing was added, whatever else was said.
      if (found === undefined) throw error;
    }
    const { swapped } = apply(read(found), swap, now());
    // What is gone is looked at again where it is replaced: somebody may be faster.
    return swapped.won ? replace(swap) : swapped;
  }

  /** Removes some of what is gone. What was claimed anew meanwhile has a new place in the index. */
  function purgeSome(): Promise<number> {
    return transact("relaxed", (slots, on) =>
      on(slots.index(GONE_AT).getAllKeys(IDBKeyRange.upperBound(now()), BATCH), (names) => {
        for (const name of names) slots.delete(name);
        commit(slots);
        return names.length;
      }),
    );
  }

  async function purge(): Promise<number> {
    for (let purged = 0; ; ) {
      const some = await purgeSome();
      purged += some;
      if (some < BATCH) return purged;
    }
  }

  /** Most pages make a few swaps only, so the first that wins purges, too. */
  function purgeNowAndThen() {
    winsUntilPurge -= 1;
    if (winsUntilPurge > 0 || closed) return;
    winsUntilPurge = BATCH;
    // Nobody waits for it: what fails now is done another time.
    purgeSome().then(
      (purged) => {
        if (purged === BATCH) winsUntilPurge = 1;
      },
      () => {},
    );
  }

  return {
    async swap(swap) {
      let swapped: Swapped;
      try {
        swapped = await swapOnce(swap);
      } catch (error) {
        if (!isFull(error)) throw error;
        // The transaction was undone, so the question can be asked again if there is room.
        if ((await purge().catch(() => 0)) === 0) throw error;
        swapped = await swapOnce(swap);
      }
      if (swapped.won) purgeNowAndThen();
      return swapped;
    },
    forget: (prefix) =>
      transact("strict", (slots) => {
        // Names are hex.
        slots.delete(IDBKeyRange.bound(prefix, `${prefix}g`));
        commit(slots);
      }),
    async persist() {
      try {
        return await navigator.storage.persist();
      } catch {
        return false;
      }
    },
    purge,
    async close() {
      closed = true;
      // What could not be opened need not be closed.
      (await connection?.catch(() => undefined))?.close();
    },
  };
}

/** What to make of the result of a request. */
type On<T> = <R>(request: IDBRequest<R>, then: (result: R) => T) => void;

/** Says that nothing more is asked: the transaction need not wait for another turn of the page. */
function commit({ transaction }: IDBObjectStore): void {
  transaction.commit?.();
}

const VERSION = 1;
const SLOTS = "slots";
const GONE_AT = "goneAt";
/** How many slots a purge removes at most in one transaction, and after how many swaps it comes. */
const BATCH = 64;

/** Opens the database; `lost` is told when the connection is no more. No open of the first version is ever blocked by one of another. */
function open(name: string, lost: () => void): Promise<IDBDatabase> {
  return new Promise<IDBDatabase>((resolve, reject) => {
    const fail = (error: unknown) => reject(error instanceof DOMException ? failed(error, true) : error);
    try {
      if (!globalThis.indexedDB) throw new StoreError("STORE_UNUSABLE", { advice: "there is no IndexedDB here" });
      const request = indexedDB.open(name, VERSION);
      request.onupgradeneeded = () => request.result.createObjectStore(SLOTS).createIndex(GONE_AT, "goneAt");
      request.onerror = () => fail(request.error);
      request.onsuccess = () => {
        const database = request.result;
        // Another tab waits for this: it deletes the database, or is of a newer version.
        database.onversionchange = () => {
          database.close();
          lost();
        };
        // The browser closed it, for instance since the person cleared the site's data.
        database.onclose = lost;
        resolve(database);
      };
    } catch (error) {
      fail(error);
    }
  });
}

function written(slot: Slot): Slot {
  const { rev, leaseUntil, goneAt, head, body } = slot;
  return { rev, leaseUntil, goneAt, head: whole(head), body: whole(body) };
}

function read(found: Partial<Slot> | undefined): Slot | undefined {
  if (found === undefined) return undefined;
  const { rev, leaseUntil, goneAt, head, body } = found ?? {};
  const sound =
    /^[\da-f]{32}$/.test(String(rev)) &&
    [leaseUntil, goneAt].every((time) => Number.isSafeInteger(time) && (time as number) >= 0) &&
    [head, body].every((bytes) => bytes instanceof Uint8Array);
  if (!sound) throw new StoreError("STORE_CORRUPT", { advice: "an entry is not what was put there" });
  return { rev, leaseUntil, goneAt, head, body } as Slot;
}

function isFull(error: unknown): boolean {
  return error instanceof StoreError && error.code === "STORE_FULL";
}

function failed(cause: DOMException, opening = false): StoreError {
  const unusable = (advice: string) => new StoreError("STORE_UNUSABLE", { cause, advice });
  switch (cause.name) {
    case "QuotaExceededError":
      return new StoreError("STORE_FULL", { cause, advice: "the browser gives this origin no more room" });
    case "VersionError":
      return unusable("a newer version of this page has its database: reload the page");
    case "NotFoundError":
      return unusable("the database of this name has other content: give the store another name");
    case "SecurityError":
      return unusable(REFUSED);
    case "InvalidStateError":
      // So some browsers say it in private windows.
      return opening ? unusable(REFUSED) : unavailable(cause.name, cause);
    default:
      return unavailable(cause.name, cause);
  }
}

const REFUSED = "the browser refuses IndexedDB here: a sandboxed frame, blocked site data or a private window";

function unavailable(advice: string, cause?: DOMException): StoreError {
  return new StoreError("STORE_UNAVAILABLE", { cause, advice });
}
