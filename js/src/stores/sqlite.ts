import { done, answeredCall, question, readSwapped, storeError, unanswered, io, writeSwap } from "../core/crossing.js";
import type { Call } from "../core/machine.js";
import { addonFor, type AddonClock, type AddonSqlite } from "../core/native.js";
import { DRIVE, type Driving } from "../driver.js";
import { IdempError } from "../errors.js";
import { milliseconds, type Span } from "../span.js";
import type { Store, Swap, Swapped } from "../store.js";

export interface SqliteStoreOptions {
  /** What an acknowledged write survives. `"power"`: a power loss, since each commit is synced to the
   *  disk before it is answered. `"process"`: a killed process only; after a power loss **the last
   *  seconds are gone**, and what was acknowledged in them may execute a second time. Power. */
  readonly durability?: "power" | "process";
  /** How long a write waits for another process's, before it fails with STORE_UNAVAILABLE; 5 s. One
   *  that queues behind such a write may wait twice as long. */
  readonly busyTimeout?: Span;
  /** How many writes may wait for the one that is being committed; more fail with STORE_UNAVAILABLE.
   *  1024. */
  readonly queue?: number;
  /** A bound on the file, in bytes, without its log: new slots fail with STORE_FULL past it. None. */
  readonly maxBytes?: number;
}

/** The store in one SQLite file: see {@link sqliteStore}. */
export interface SqliteStore extends Store {
  /** Removes at most so many slots that are gone, and says how many: writes do this bit by bit on
   *  their own. In short transactions, on a thread of its own. */
  purge(limit?: number): Promise<number>;
  /** How many transactions were committed that wrote: under `"power"`, so many times it waited for
   *  the disk. */
  readonly commits: number;
  /** Waits until what is queued is committed and answered, and closes the file. */
  close(): Promise<void>;
}

/**
 * Keeps slots in one SQLite file, which several processes of one machine may share. Opens it, makes it
 * where it does not exist, and brings its schema up to date.
 *
 * What only reads, a replay or anything that loses, is answered at once. Writes that meet are
 * committed together, with one sync of the disk for all of them, and take no thread while they wait.
 *
 * ```ts
 * const idem = createIdempotency({ store: sqliteStore("idemp.db") });
 * ```
 *
 * @throws IdempError NATIVE_UNAVAILABLE where the addon is not installed for this platform: there is
 * no SQLite without it. StoreError where the file cannot be opened.
 */
export function sqliteStore(path: string, options: SqliteStoreOptions = {}): SqliteStore {
  return openedSqlite(path, options);
}

/** @internal With a clock that stands still, for tests. */
export function openedSqlite(path: string, options: SqliteStoreOptions, clock?: AddonClock): SqliteStore {
  const { durability = "power", busyTimeout, queue, maxBytes } = options;
  if (durability !== "power" && durability !== "process") {
    throw new IdempError("OPTION_INVALID", 'durability is "power" or "process"');
  }
  for (const [name, count] of Object.entries({ queue, maxBytes })) {
    if (count === undefined || (Number.isSafeInteger(count) && count >= 1 && (name !== "queue" || count < 2 ** 32))) continue;
    throw new IdempError("OPTION_INVALID", `${name} is a whole number, at least 1`);
  }
  const { SqliteStore } = addonFor("sqliteStore");
  const opening = {
    relaxed: durability === "process",
    busyTimeout: busyTimeout === undefined ? undefined : milliseconds(busyTimeout),
    queue,
    maxBytes,
  };
  try {
    return new NativeSqlite(new SqliteStore(path, opening, clock));
  } catch (error) {
    throw failed(error);
  }
}

class NativeSqlite implements SqliteStore, Driving {
  readonly #store: AddonSqlite;
  readonly #waiting = new Map<number, Waiting>();
  #idle: Promise<void> | undefined;

  constructor(store: AddonSqlite) {
    this.#store = store;
  }

  [DRIVE]<D>(call: Call<D>): D | Promise<D> {
    const out = call.write(question());
    const apart = this.#store.drive(out.bytes, out.length, call.own, call.known);
    return this.#answer(apart, (apart) => done(call, apart));
  }

  swap(swap: Swap): Swapped | Promise<Swapped> {
    const out = question();
    const body = writeSwap(out, swap);
    return this.#answer(this.#store.swap(out.bytes, out.length, body), readSwapped);
  }

  async purge(limit = Number.MAX_SAFE_INTEGER): Promise<number> {
    try {
      return await this.#store.purge(limit);
    } catch (error) {
      throw failed(error);
    }
  }

  get commits(): number {
    return this.#store.commits;
  }

  async close(): Promise<void> {
    try {
      await this.#store.close();
    } catch (error) {
      throw failed(error);
    }
    await this.#idle;
  }

  #answer<D>(apart: Uint8Array | null, read: (apart: Uint8Array | null) => D): D | Promise<D> {
    const call = unanswered();
    if (call === 0) return read(apart);
    return new Promise<D>((resolve, reject) => {
      this.#waiting.set(call, {
        read(apart) {
          try {
            resolve(read(apart));
          } catch (error) {
            reject(error);
          }
        },
        reject,
      });
      if (this.#idle) return;
      const tending = this.#tend();
      // It may have failed at once, and then it has said that nobody tends them.
      if (this.#waiting.size > 0) this.#idle = tending;
    });
  }

  /** While calls wait: takes the answers of those that have ended, each time that one has. */
  async #tend(): Promise<void> {
    try {
      while (this.#waiting.size > 0) {
        await this.#store.tick();
        for (;;) {
          const apart = this.#store.take(io.bytes);
          const call = answeredCall();
          if (call === 0) break;
          const waiting = this.#waiting.get(call);
          this.#waiting.delete(call);
          waiting?.read(apart);
        }
      }
    } catch (error) {
      // Nothing more is heard of them: what came of them is unknown.
      const lost = [...this.#waiting.values()];
      this.#waiting.clear();
      for (const { reject } of lost) reject(failed(error));
    } finally {
      this.#idle = undefined;
    }
  }
}

interface Waiting {
  read(apart: Uint8Array | null): void;
  reject(error: unknown): void;
}

/** What the addon throws says the number of the error, and what is known of it. */
function failed(error: unknown): unknown {
  if (!(error instanceof Error)) return error;
  const { code, message } = error as Error & { code?: string };
  const [, number, why] = /^([1-5]) (.*)$/s.exec(`${code} ${message}`) ?? /^([1-5]) (.*)$/s.exec(message) ?? [];
  return number === undefined ? error : storeError(Number(number), why ?? "");
}
