/** The stores that a cluster shares. */
import type { Store } from "idemp";

/** The store of a URL: `sqlite:PATH`, `redis://…` or `postgres://…`. A worker is to be there soon, so it
 *  loads one of them. */
export async function storeAt(url: string): Promise<Store> {
  if (url.startsWith("sqlite:")) {
    const { sqliteStore } = await import("idemp/sqlite");
    return sqliteStore(url.slice("sqlite:".length));
  }
  if (url.startsWith("redis:")) {
    const [{ redisStore }, { Redis }] = await Promise.all([import("idemp/redis"), import("ioredis")]);
    return redisStore(new Redis(url));
  }
  const [{ postgresStore }, { default: pg }] = await Promise.all([import("idemp/postgres"), import("pg")]);
  const store = postgresStore(new pg.Pool({ connectionString: url, max: 4 }));
  await store.migrate();
  return store;
}
