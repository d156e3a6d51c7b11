import { createHash } from "node:crypto";
import type { Call } from "../../core/machine.js";
import { DRIVE, type Driving } from "../../driver.js";
import { CLAIM, PURGE, SWAP, SWAP_WITHIN } from "../../generated/postgres.js";
import type { StoreError } from "../../errors.js";
import type { Store, Swap, Swapped } from "../../store.js";
import { answer, claimed, claiming, claims, ends, parameters, whole, type Parameter } from "./ask.js";
import type { PostgresClient, PostgresTransaction } from "./client.js";
import { drive } from "./drive.js";
import { busy, meaning } from "./fault.js";
import { type Asking, insideOf, linkTo, type Statement } from "./link.js";
import { migrate } from "./migrate.js";
import { checked, type Options, type PostgresStoreOptions } from "./options.js";

export { PostgresFault } from "./fault.js";
export { within } from "./within.js";
export type { PgClient, PgPool, PostgresClient, PostgresJs, PostgresTransaction } from "./client.js";
export type { PostgresStoreOptions } from "./options.js";

/** Keeps slots in a table of PostgreSQL: see {@link postgresStore}. */
export interface PostgresStore extends Store {
  swap(swap: Swap): Promise<Swapped>;
  /**
   * The store inside a transaction of the caller's: what the transaction writes, the lease and the
   * outcome are committed together, or not at all.
   *
   * ```ts
   * await sql.begin(async (tx) => {
   *   const inside = within(idem, store.withTransaction(tx));
   *   const decision = await inside.begin(["tenant-7"], key, fingerprint);
   *   if (decision.type !== "miss") return decision;
   *   await tx`INSERT INTO orders (item) VALUES ('a bicycle')`;
   *   await decision.lease.finish(outcome);
   * });
   * ```
   *
   * A lease that was begun before, outside, is finished in it by `inside.resume(lease.token)`. A `stale`
   * says that somebody else took over: then nothing of this owner's may be committed, so roll back.
   *
   * A duplicate waits for the transaction up to `lockWait`, and is `in-progress` then; its own
   * transaction can go on. The transaction should be READ COMMITTED: under REPEATABLE READ and
   * SERIALIZABLE a duplicate that committed in between is STORE_UNAVAILABLE (SQLSTATE 40001), so roll
   * back and begin again. After every error roll back: the same error comes from all that is asked here
   * then. To commit between `begin` and `finish` leaves a lease that nobody holds, to its lapse.
   *
   * @throws StoreError STORE_UNUSABLE where it is no transaction that is known.
   */
  withTransaction(transaction: PostgresTransaction): Store;
  /**
   * Makes the table, or brings it up to date; where it is, does nothing. Several services, in Rust too,
   * may call it at once. The role needs `CREATE` on the schema, and owns the table from then on.
   *
   * @throws StoreError STORE_UNUSABLE where the table has a newer schema than is known, is not one of
   * this library, or the role may not do this.
   */
  migrate(): Promise<void>;
  /**
   * Deletes at most `limit` records that are gone, of all tenants, and says how many: ask again until
   * it is fewer. Nothing else depends on it; a record that is gone is never seen again.
   */
  purge(limit: number): Promise<number>;
}

/**
 * A store in a table of PostgreSQL (14 or newer), on the client that the service has anyway: a `Pool` or
 * a `Client` of `pg`, or `postgres`. Each question is one statement and one trip, and the server's clock
 * decides. The table is that of the crate `idemp-postgres`: services in both languages share it.
 *
 * ```ts
 * const store = postgresStore(new Pool({ connectionString }));
 * await store.migrate();
 * const idem = createIdempotency({ store, retention: "24h" });
 * ```
 *
 * The client stays the caller's. A `Client` is asked on its one connection: take one that runs no
 * transactions of its own, since what is asked in between would be a part of them.
 *
 * @throws StoreError STORE_UNUSABLE where an option is out of its range, or the client is none that is
 * known; IdempError SPAN_INVALID.
 */
export function postgresStore(client: PostgresClient, options: PostgresStoreOptions = {}): PostgresStore {
  return new Table(client, checked(options));
}

class Table implements PostgresStore, Driving {
  private readonly link: ReturnType<typeof linkTo>;
  private readonly claim: Statement;
  private readonly swaps: Statement;
  private readonly within: Statement;

  constructor(
    client: PostgresClient,
    private readonly options: Options,
  ) {
    this.link = linkTo(client);
    const waits = `pg_catalog.set_config('lock_timeout', '${options.lockWait}', true) AS lock_timeout,`;
    this.claim = statement(CLAIM.replace(FIRST, waits).replaceAll(AS_BYTES, "pg_catalog.timestamptz_send"), options);
    this.swaps = statement(SWAP.replace(FIRST, waits), options);
    this.within = statement(SWAP_WITHIN, options);
  }

  async swap(swap: Swap): Promise<Swapped> {
    const { commit, timeout } = this.options;
    const values: Parameter[] = [...parameters(swap), commit];
    try {
      if (claims(swap)) {
        const found = claimed(await this.link.one(this.claim, claiming(values), timeout));
        if (found) return found;
      }
      const swapped = answer(await this.link.one(this.swaps, values, timeout));
      if (swapped) return swapped;
    } catch (error) {
      throw meaning(error);
    }
    throw busy();
  }

  [DRIVE]<D>(call: Call<D>): Promise<D> {
    return drive(call, (swap) => this.swap(swap), true);
  }

  withTransaction(transaction: PostgresTransaction): Store {
    return new Within(insideOf(transaction), this.within, this.options);
  }

  async migrate(): Promise<void> {
    try {
      await this.link.transaction((inside) => migrate(inside, this.options.names));
    } catch (error) {
      throw meaning(error);
    }
  }

  async purge(limit: number): Promise<number> {
    const purges = statement(PURGE, this.options);
    try {
      return whole((await this.link.one(purges, [String(limit)], this.options.timeout))[0]);
    } catch (error) {
      throw meaning(error);
    }
  }
}

/** The store inside a transaction of the caller's. */
class Within implements Driving {
  private failed: StoreError | undefined;

  constructor(
    private readonly transaction: Asking,
    private readonly statement: Statement,
    private readonly options: Options,
  ) {}

  async swap(swap: Swap): Promise<Swapped> {
    const { timeout, lockWait } = this.options;
    if (this.failed) throw this.failed;
    // Whoever ends its own work holds the record, or has lost it: no need for a subtransaction.
    const values = [...parameters(swap), `${lockWait}ms`, !ends(swap)];
    try {
      const swapped = answer(await this.transaction.one(this.statement, values, timeout + lockWait));
      if (swapped) return swapped;
    } catch (error) {
      throw (this.failed = meaning(error));
    }
    // Nothing was done, and the transaction goes on.
    throw busy();
  }

  [DRIVE]<D>(call: Call<D>): Promise<D> {
    return drive(call, (swap) => this.swap(swap), false);
  }
}

/** Where a setting of one statement stands. */
const FIRST = "/* first */";

/** Stands before a time, which as text is written in one of several ways. */
const AS_BYTES = "/* as bytes */";

function statement(sql: string, { names, prepares }: Options): Statement {
  const text = names.putInto(sql);
  if (!prepares) return { text, name: undefined };
  // Connections know a statement by its name, whichever process, version or copy of the package prepared
  // it: a pooler hands them on. So one name is one text everywhere.
  return { text, name: `idemp_${createHash("sha256").update(text).digest("hex").slice(0, 32)}` };
}
