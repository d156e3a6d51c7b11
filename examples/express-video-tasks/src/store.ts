/** Where the idempotency keys are: whatever the URL says. What is not wanted is not loaded. */
import type { Store } from "idemp";
import { UsageError } from "./options.js";

/** A store that is open. */
export interface Opened {
  readonly store: Store;
  /** Lets go of it, and of the client that it is on. */
  close(): Promise<void>;
}

/**
 * Opens the store of a URL, and makes what it needs: the file, the table.
 *
 * @throws UsageError where it is none. None of the errors shows the URL, which may hold a password.
 */
export async function openStore(url: string): Promise<Opened> {
  const [scheme = ""] = url.split(":");
  const open = OPEN[scheme];
  if (open === undefined) throw new UsageError("a store is memory, sqlite:PATH, postgres://... or redis://...");
  return open(url);
}

async function memory(): Promise<Opened> {
  const { memoryStore } = await import("idemp/memory");
  return { store: memoryStore(), close: async () => undefined };
}

async function sqlite(url: string): Promise<Opened> {
  const { sqliteStore } = await import("idemp/sqlite");
  const store = sqliteStore(url.slice("sqlite:".length));
  return { store, close: () => store.close() };
}

async function postgres(url: string): Promise<Opened> {
  const [{ postgresStore }, { default: pg }] = await Promise.all([import("idemp/postgres"), import("pg")]);
  const pool = new pg.Pool({ connectionString: url });
  pool.on("error", () => undefined); // an idle connection broke: who asks next opens another one
  const store = postgresStore(pool);
  await store.migrate(); // makes its table, where it is missing
  return { store, close: () => pool.end() };
}

async function redis(url: string): Promise<Opened> {
  const [{ redisStore }, { Redis }] = await Promise.all([import("idemp/redis"), import("ioredis")]);
  const client = new Redis(url);
  client.on("error", () => undefined); // it connects again by itself; who asks meanwhile is told
  return { store: redisStore(client), close: async () => client.disconnect() };
}

const OPEN: Readonly<Record<string, (url: string) => Promise<Opened>>> = {
  memory,
  sqlite,
  postgres,
  postgresql: postgres,
  redis,
  rediss: redis,
};
