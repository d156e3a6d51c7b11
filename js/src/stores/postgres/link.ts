/** How a statement goes to the server over the user's own client. */
import { Buffer } from "node:buffer";
import { inTime } from "../in-time.js";
import type { Parameter, Value } from "./ask.js";
import type { PostgresClient, PostgresTransaction } from "./client.js";
import { corrupt, leavesConnection, unusable } from "./fault.js";

/** A statement, and the name under which a connection keeps it; without one it is not kept. */
export interface Statement {
  readonly text: string;
  readonly name: string | undefined;
}

/** What asks: a client, whichever it is, or a transaction. */
export interface Asking {
  /** The one row of a statement's answer. */
  one(statement: Statement, parameters: readonly Parameter[], limit: number): Promise<readonly Value[]>;
}

export interface Link extends Asking {
  /** Runs `work` in a transaction of its own, which is committed where it ends well. */
  transaction(work: (inside: Inside) => Promise<void>): Promise<void>;
}

export interface Inside extends Asking {
  /** Statements without parameters. */
  run(text: string): Promise<void>;
}

/** @throws StoreError STORE_UNUSABLE where it is no client that is known. */
export function linkTo(client: PostgresClient): Link {
  if (has(client, "unsafe") && has(client, "typed")) return postgresJs(client as unknown as Sql);
  if (has(client, "query") && has(client, "connect") && typeof (client as { totalCount?: unknown }).totalCount === "number") {
    return pgPool(client as unknown as Pool);
  }
  if (has(client, "query")) return pgClient(client as unknown as Client);
  throw unusable("this is no client that is known; take a Pool or a Client of pg 8.11, or `postgres()` of postgres 3.4, or newer ones");
}

/** @throws StoreError STORE_UNUSABLE where it is no transaction that is known. */
export function insideOf(transaction: PostgresTransaction): Asking {
  if (has(transaction, "unsafe") && has(transaction, "typed")) {
    if (has(transaction, "begin")) throw unusable("this is a client of postgres; take the transaction that its `begin` gives");
    return asked(transaction as unknown as Sql);
  }
  if (has(transaction, "query") && typeof (transaction as { totalCount?: unknown }).totalCount !== "number") {
    return on(transaction as unknown as Client);
  }
  throw unusable("this is no transaction that is known; take the Client of pg in which it began, not its Pool, or what `begin` of postgres gives");
}

function has(client: unknown, name: string): boolean {
  return typeof (client as Record<string, unknown> | null | undefined)?.[name] === "function";
}

/** As far as they are used. */
interface Client {
  query(config: object): Promise<{ rows: unknown[] }>;
  on?(event: "error", listener: () => void): unknown;
  off?(event: "error", listener: () => void): unknown;
}

interface Pool {
  connect(): Promise<Client & { release(destroy?: boolean): void }>;
}

/** Columns as they come, which is text: no parser of the user's reads them. Not in the binary form, since
 *  pg reads every column as UTF-8 first. */
const AS_THEY_COME = { getTypeParser: () => (value: unknown) => value };

function on(client: Client): Inside {
  return {
    async one({ text, name }, parameters, limit) {
      const values = [...parameters];
      const config = { text, values, rowMode: "array", types: AS_THEY_COME, ...(name && { name }) };
      const { rows } = await inTime(limit, client.query(config));
      return row(rows);
    },
    run: async (text) => void (await client.query({ text })),
  };
}

function pgPool(pool: Pool): Link {
  /** A connection that failed, or did not answer in time, is closed: what it still brings belongs to
   *  nobody. */
  async function borrowed<T>(limit: number, work: (inside: Inside) => Promise<T>): Promise<T> {
    const connecting = pool.connect();
    let late = false;
    connecting.then((client) => late && client.release(), () => undefined);
    const client = await inTime(limit, connecting).catch((error: unknown) => {
      late = true;
      throw error;
    });
    let broken = true;
    // The end of a connection is told to the question, too; unheard it would end the process.
    client.on?.("error", unheard);
    try {
      const done = await work(on(client));
      broken = false;
      return done;
    } catch (error) {
      broken = !leavesConnection(error);
      throw error;
    } finally {
      client.off?.("error", unheard);
      client.release(broken);
    }
  }
  return {
    one: (statement, parameters, limit) => borrowed(limit, (inside) => inside.one(statement, parameters, limit)),
    transaction: (work) => borrowed(MIGRATES_WITHIN, (inside) => framed(inside, work)),
  };
}

/** How long a connection for a migration is waited for, in milliseconds. */
const MIGRATES_WITHIN = 60_000;

function unheard(): void {}

function pgClient(client: Client): Link {
  const inside = on(client);
  // Its one connection is asked in turn: pg is to queue nothing from its version 9 on.
  let last: Promise<unknown> = Promise.resolve();
  const inTurn = <T>(limit: number, work: () => Promise<T>): Promise<T> => {
    const before = last;
    const done = inTime(limit, before).then(work);
    last = done.catch(() => undefined);
    return done;
  };
  return {
    one: (statement, parameters, limit) => inTurn(limit, () => inside.one(statement, parameters, limit)),
    transaction: (work) => inTurn(MIGRATES_WITHIN, () => framed(inside, work)),
  };
}

async function framed(inside: Inside, work: (inside: Inside) => Promise<void>): Promise<void> {
  await inside.run("BEGIN");
  try {
    await work(inside);
  } catch (error) {
    // What failed is what is to be told.
    await inside.run("ROLLBACK").catch(() => undefined);
    throw error;
  }
  await inside.run("COMMIT");
}

interface Sql {
  unsafe(text: string, parameters?: unknown[], options?: object): Promise<unknown[]> & { raw(): Promise<unknown[]> };
  typed(value: unknown, type: number): unknown;
  begin(work: (sql: Sql) => Promise<void>): Promise<void>;
}

/** The type of a parameter of which nothing is said: no serialiser of the user's writes it. */
const UNKNOWN = 705;

function asked(sql: Sql): Inside {
  return {
    async one({ text, name }, parameters, limit) {
      const written = parameters.map((value) => sql.typed(textOf(value), UNKNOWN));
      // Raw: as it came, and no parser of the user's read it.
      const rows = await inTime(limit, sql.unsafe(text, written, { prepare: name !== undefined }).raw());
      return row(rows);
    },
    run: async (text) => void (await sql.unsafe(text)),
  };
}

function postgresJs(sql: Sql): Link {
  return {
    one: asked(sql).one,
    transaction: (work) => sql.begin((inside) => work(asked(inside))),
  };
}

function textOf(value: Parameter): string | null {
  if (value instanceof Uint8Array) return `\\x${Buffer.from(value.buffer, value.byteOffset, value.length).toString("hex")}`;
  return value === null ? null : String(value);
}

function row(rows: unknown): readonly Value[] {
  const [first, ...others] = (Array.isArray(rows) ? rows : []) as unknown[];
  if (others.length > 0 || !Array.isArray(first)) {
    throw corrupt("the answer is not one row of columns; a transformation of rows makes it into something else");
  }
  return first.map((value: unknown) => {
    if (value === null || typeof value === "string") return value;
    if (value instanceof Uint8Array) return Buffer.from(value.buffer, value.byteOffset, value.length).toString();
    throw corrupt("a column of the answer is no text");
  });
}
