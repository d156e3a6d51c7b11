/** Every client that a store in Redis works on, and how each is ended. */
import { type RedisClient } from "idemp/redis";
import { Cluster, Redis } from "ioredis";
import { createClient, createClientPool, createCluster } from "redis";

/** A client in use. */
export interface Connected {
  readonly client: RedisClient;
  end(): void | Promise<void>;
}

/** The clients of one server, by name. */
export const CLIENTS = {
  ioredis: ioredis,
  "ioredis with everything set that could get in the way": (url: string) =>
    ioredis(url, { enableAutoPipelining: true, stringNumbers: true, lazyConnect: true }),
  redis: (url: string) => nodeRedis(url),
  "redis with types mapped otherwise, and RESP2": (url: string) =>
    nodeRedis(url, { RESP: 2, commandOptions: { typeMapping: { 36: String, 58: String } } }),
  "a pool of redis": pool,
} as const;

export async function ioredis(url: string, options: object = {}): Promise<Connected> {
  const client = new Redis(url, { retryStrategy: (times) => Math.min(times * 20, 200), ...options });
  client.on("error", () => undefined); // the store's errors are looked at
  return { client, end: () => client.disconnect() };
}

export async function nodeRedis(url: string, options: object = {}): Promise<Connected> {
  const client = createClient({ url, socket: { reconnectStrategy: (times: number) => Math.min(times * 20, 200) }, ...options });
  client.on("error", () => undefined);
  await client.connect();
  return { client, end: () => client.destroy() };
}

async function pool(url: string): Promise<Connected> {
  const client = createClientPool({ url }, { minimum: 1, maximum: 8 });
  client.on("error", () => undefined);
  await client.connect();
  return { client, end: () => client.destroy() };
}

/** The clients of a cluster, by name. */
export const CLUSTERS = {
  "Cluster of ioredis": ioredisCluster,
  "Cluster of ioredis with everything set that could get in the way": (urls: readonly string[]) =>
    ioredisCluster(urls, { scaleReads: "slave", enableAutoPipelining: true, redisOptions: { stringNumbers: true } }),
  "createCluster of redis": nodeRedisCluster,
} as const;

export async function ioredisCluster(urls: readonly string[], options: object = {}): Promise<Connected> {
  const nodes = urls.map((url) => ({ host: new URL(url).hostname, port: Number(new URL(url).port) }));
  const client = new Cluster(nodes, options);
  client.on("error", () => undefined);
  return { client, end: () => client.disconnect() };
}

export async function nodeRedisCluster(urls: readonly string[], options: object = {}): Promise<Connected> {
  const client = createCluster({ rootNodes: urls.map((url) => ({ url })), ...options });
  client.on("error", () => undefined);
  await client.connect();
  return { client, end: () => client.destroy() };
}
