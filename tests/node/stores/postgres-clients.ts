/** Every client that a store in PostgreSQL works on, how each is ended, and its transactions. */
import { type PostgresClient, type PostgresTransaction } from "idemp/postgres";
import pg from "pg";
import postgres from "postgres";

/** A client in use. */
export interface Connected {
  readonly client: PostgresClient;
  /** Runs `work` in a transaction, which is committed where it ends well. */
  transaction<T>(work: (tx: PostgresTransaction, run: Run) => Promise<T>, isolation?: string): Promise<T>;
  end(): Promise<void>;
}

/** Runs statements in the transaction. */
export type Run = (sql: string) => Promise<unknown>;

export const CLIENTS = {
  "Pool of pg": (url: string) => pool(url),
  "Pool of pg with parsers of its own, and settings that could get in the way": (url: string) =>
    pool(url, {
      types: { getTypeParser: () => () => "something else" },
      options: "-c synchronous_commit=off -c bytea_output=hex -c extra_float_digits=0",
      statement_timeout: 60_000,
    }),
  "Client of pg": client,
  postgres: (url: string) => postgresJs(url),
  "postgres with types and names of its own": (url: string) =>
    postgresJs(url, {
      transform: { ...postgres.camel, undefined: null, value: { from: () => "something else" } },
      types: {
        bytea: { to: 17, from: [17], serialize: () => "something else", parse: () => "something else" },
        bigint: { to: 20, from: [20], serialize: () => "0", parse: () => 7n },
        text: { to: 25, from: [25], serialize: () => "something else", parse: () => 7n },
      },
    }),
} as const;

export async function pool(url: string, options: object = {}): Promise<Connected> {
  const pool = new pg.Pool({ connectionString: url, max: 8, ...options });
  pool.on("error", () => undefined); // a server that ends
  return {
    client: pool,
    end: () => pool.end(),
    async transaction(work, isolation = "READ COMMITTED") {
      const client = await pool.connect();
      try {
        return await inTransaction(client, work, isolation);
      } finally {
        client.release();
      }
    },
  };
}

async function client(url: string): Promise<Connected> {
  const [client, other] = [new pg.Client(url), new pg.Client(url)];
  for (const one of [client, other]) {
    one.on("error", () => undefined);
    await one.connect();
  }
  return {
    client,
    end: () => Promise.all([client.end(), other.end()]).then(() => undefined),
    transaction: (work, isolation = "READ COMMITTED") => inTransaction(other, work, isolation),
  };
}

async function inTransaction<T>(client: pg.ClientBase, work: (tx: PostgresTransaction, run: Run) => Promise<T>, isolation: string) {
  await client.query(`BEGIN ISOLATION LEVEL ${isolation}`);
  try {
    const done = await work(client, async (sql) => (await client.query(sql)).rows);
    await client.query("COMMIT");
    return done;
  } catch (error) {
    await client.query("ROLLBACK");
    throw error;
  }
}

export async function postgresJs(url: string, options: object = {}): Promise<Connected> {
  const sql = postgres(url, { max: 8, onnotice: () => undefined, ...options });
  return {
    client: sql,
    end: () => sql.end({ timeout: 1 }),
    transaction: (work, isolation = "READ COMMITTED") =>
      sql.begin(`ISOLATION LEVEL ${isolation}`, (tx) => work(tx, (text) => tx.unsafe(text))) as never,
  };
}
