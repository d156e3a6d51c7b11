/** The stores that a cluster shares. */
import { Redis } from "ioredis";
import pg from "pg";
import type { Store } from "idemp";
import { postgresStore } from "idemp/postgres";
import { redisStore } from "idemp/redis";
import { sqliteStore } from "idemp/sqlite";

/** The store of a URL: `sqlite:PATH`, `redis://…` or `postgres://…`. */
export function storeAt(url: string): Store {
  if (url.startsWith("sqlite:")) return sqliteStore(url.slice("sqlite:".length));
  if (url.startsWith("redis:")) return redisStore(new Redis(url));
  return postgresStore(new pg.Pool({ connectionString: url, max: 4 }));
}
