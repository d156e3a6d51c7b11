/** Every client that a store in Redis works on, and how each is ended. */
import { type RedisClient } from "idemp/redis";
import { Cluster, Redis } from "ioredis";
import * as ioredis5 from "ioredis5";
import { createClient, createClientPool, createCluster } from "redis";
import * as redis5 from "redis5";

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
  "redis with everything set that could get in the way, and RESP2": (url: string) =>
    nodeRedis(url, { RESP: 2, commandOptions: { asap: true, typeMapping: { 36: String, 58: String } } }),
  "a pool of redis": pool,
} as const;

/** Of the versions before, which the package takes, too: with their defaults. */
export const OLDER_CLIENTS = {
  "ioredis 5": async (url: string) => disconnected(new ioredis5.Redis(url)),
  "redis 5": async (url: string) => destroyed(await redis5.createClient({ url }).on("error", ignored).connect()),
} as const;

export async function ioredis(url: string, options: object = {}): Promise<Connected> {
  const client = new Redis(url, { retryStrategy: (times) => Math.min(times * 20, 200), ...options });
  return disconnected(client);
}

export async function nodeRedis(url: string, options: object = {}): Promise<Connected> {
  const client = createClient({ url, socket: { reconnectStrategy: (times: number) => Math.min(times * 20, 200) }, ...options });
  client.on("error", ignored);
  await client.connect();
  return destroyed(client);
}

async function pool(url: string): Promise<Connected> {
  const client = createClientPool({ url }, { minimum: 1, maximum: 8 });
  client.on("error", ignored);
  await client.connect();
  return destroyed(client);
}

/** The clients of a cluster, by name. */
export const CLUSTERS = {
  "Cluster of ioredis": ioredisCluster,
  "Cluster of ioredis with everything set that could get in the way": (urls: readonly string[]) =>
    ioredisCluster(urls, { scaleReads: "slave", enableAutoPipelining: true, redisOptions: { stringNumbers: true } }),
  "createCluster of redis": nodeRedisCluster,
} as const;

/** Of the versions before, by name. */
export const OLDER_CLUSTERS = {
  "Cluster of ioredis 5": async (urls: readonly string[]) => disconnected(new ioredis5.Cluster(nodesOf(urls))),
  "createCluster of redis 5": async (urls: readonly string[]) =>
    destroyed(await redis5.createCluster({ rootNodes: urls.map((url) => ({ url })) }).on("error", ignored).connect()),
} as const;

export async function ioredisCluster(urls: readonly string[], options: object = {}): Promise<Connected> {
  return disconnected(new Cluster(nodesOf(urls), options));
}

export async function nodeRedisCluster(urls: readonly string[], options: object = {}): Promise<Connected> {
  const client = createCluster({ rootNodes: urls.map((url) => ({ url })), ...options });
  client.on("error", ignored);
  await client.connect();
  return destroyed(client);
}

function nodesOf(urls: readonly string[]): { host: string; port: number }[] {
  return urls.map((url) => ({ host: new URL(url).hostname, port: Number(new URL(url).port) }));
}

/** The store's errors are looked at, and not the client's. */
function ignored(): void {}

function disconnected(client: RedisClient & { on(event: "error", heard: () => void): unknown; disconnect(): void }): Connected {
  client.on("error", ignored);
  return { client, end: () => client.disconnect() };
}

function destroyed(client: RedisClient & { destroy(): void }): Connected {
  return { client, end: () => client.destroy() };
}
