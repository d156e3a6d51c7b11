/** Where the idempotency keys are: whatever the URL says. */
import type { Store } from "idemp";
import { memoryStore } from "idemp/memory";
import { postgresStore } from "idemp/postgres";
import { redisStore } from "idemp/redis";
import { sqliteStore } from "idemp/sqlite";
import { UsageError } from "./options.js";

/** A store that is open. */
export interface Opened {
  readonly store: Store;
  /** Lets go of it, and of the client that it is on. */
  close(): Promise<void>;
}

/**
 * Opens the store of a URL. The clients of PostgreSQL and Redis are loaded where they are wanted.
 *
 * @throws UsageError where it is none. None of the errors shows the URL, which may hold a password.
 */
export async function openStore(url: string): Promise<Opened> {
  const [scheme] = url.split(":");
  if (url === "memory") {
    return { store: memoryStore(), close: async () => undefined };
  }
  if (scheme === "sqlite") {
    const store = sqliteStore(url.slice("sqlite:".length));
    return { store, close: async () => store.close() };
  }
  if (scheme === "postgres" || scheme === "postgresql") {
    const { default: pg } = await import("pg");
    const pool = new pg.Pool({ connectionString: url });
    pool.on("error", () => undefined); // an idle connection that broke: the next one is asked
    const store = postgresStore(pool);
    return { store, close: () => pool.end() };
  }
  if (scheme === "redis" || scheme === "rediss") {
    const { Redis } = await import("ioredis");
    const redis = new Redis(url);
    redis.on("error", () => undefined); // it connects again by itself; who asks meanwhile is told
    return { store: redisStore(redis), close: async () => redis.disconnect() };
  }
  throw new UsageError("a store is memory, sqlite:PATH, postgres://... or redis://...");
}
