import { milliseconds, type Span } from "../../span.js";
import { unusable } from "./fault.js";

export interface PostgresStoreOptions {
  /** The schema of the table; `public`. It matches `[a-z_][a-z0-9_]*`, and is there. */
  readonly schema?: string;
  /** The table; `idempotency_keys`. It matches `[a-z_][a-z0-9_]*` and has at most 48 bytes. */
  readonly table?: string;
  /** How long each step of a question may take: waiting for a free connection, the answer; 5 s. Then it
   *  is STORE_UNAVAILABLE, and a connection of a `Pool` of pg is closed. */
  readonly timeout?: Span;
  /** How long a question waits for another transaction that holds its record; 1 s, and no longer than
   *  the timeout. Then `begin` says `in-progress`, also inside a transaction. */
  readonly lockWait?: Span;
  /** `"durable"`: a commit waits for the server's disk, and for its synchronous standbys, whatever the
   *  server's, the database's or the role's default. `"relaxed"`: it does not, a server that is killed
   *  or loses power forgets what it acknowledged last, and **requests can execute twice**. Durable;
   *  inside a transaction of the caller's always. */
  readonly commit?: "durable" | "relaxed";
  /** For a pooler that gives every transaction another server connection, such as PgBouncer with
   *  `pool_mode = transaction`: no statement is prepared beyond its own question. */
  readonly pooledTransactions?: boolean;
}

/** The options, checked. Milliseconds. */
export interface Options {
  readonly names: Names;
  readonly timeout: number;
  readonly lockWait: number;
  /** What `synchronous_commit` is to be. */
  readonly commit: "on" | "off";
  readonly prepares: boolean;
}

/** @throws StoreError STORE_UNUSABLE, IdempError SPAN_INVALID. */
export function checked(options: PostgresStoreOptions): Options {
  const { schema = "public", table = "idempotency_keys", timeout = "5s", lockWait = "1s" } = options;
  const { commit = "durable", pooledTransactions = false } = options;
  const [within, waits] = [milliseconds(timeout), milliseconds(lockWait)];
  if (within > 3_600_000) throw unusable("a timeout is at most an hour");
  if (waits > within) throw unusable("a wait for a lock is at most the timeout");
  if (commit !== "durable" && commit !== "relaxed") throw unusable("a commit is durable or relaxed");
  return {
    names: new Names(schema, table),
    timeout: within,
    lockWait: waits,
    commit: commit === "durable" ? "on" : "off",
    prepares: !pooledTransactions,
  };
}

/** Where the table is, and the SQL text for it. */
export class Names {
  constructor(
    private readonly schema: string,
    private readonly of: string,
  ) {
    check("schema", schema, 63);
    // PostgreSQL cuts names after 63 bytes, and the functions' are longer.
    check("table", of, 48);
  }

  /** The SQL text with these names in it. */
  putInto(sql: string): string {
    // The table first: a schema may have the default table's name.
    return sql.replaceAll("idempotency_keys", this.of).replaceAll('"public"', `"${this.schema}"`);
  }

  /** `"schema"."table"`. */
  get table(): string {
    return `"${this.schema}"."${this.of}"`;
  }
}

function check(what: string, name: unknown, limit: number): void {
  if (typeof name === "string" && /^[a-z_][a-z0-9_]*$/.test(name) && name.length <= limit) return;
  throw unusable(`the name of the ${what} has to match [a-z_][a-z0-9_]* and have at most ${limit} bytes`);
}
