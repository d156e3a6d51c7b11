/**
 * The clients that a store works on, as far as it needs them: their own types fit, and none of them
 * has to be installed for the types of another.
 *
 * | client | is known by |
 * |---|---|
 * | `Redis` and `Cluster` of ioredis | `pipeline`; the cluster by `isCluster` |
 * | `createClient` of redis | `sendCommand` and `withTypeMapping` |
 * | `createClientPool` | the same, and `execute` |
 * | `createCluster` | the same, and `nodeClient` |
 */
export type RedisClient = Ioredis | NodeRedis | NodeRedisPool | NodeRedisCluster;

/** `Redis` or `Cluster` of `ioredis`, 5.4 or newer. */
export interface Ioredis {
  pipeline(): unknown;
  on(event: string, listener: () => void): unknown;
}

/** What `createClient` of `redis` makes, 5 or newer. Connected, or about to be. */
export interface NodeRedis {
  sendCommand(args: string[], options?: object): Promise<unknown>;
  withTypeMapping(mapping: object): unknown;
  on(event: string, listener: () => void): unknown;
}

/** What `createClientPool` of `redis` makes. */
export interface NodeRedisPool {
  execute(task: (client: never) => unknown): unknown;
  withTypeMapping(mapping: object): unknown;
}

/** What `createCluster` of `redis` makes. */
export interface NodeRedisCluster {
  sendCommand(firstKey: string | undefined, isReadonly: boolean | undefined, args: string[], options?: object): Promise<unknown>;
  nodeClient(node: never): unknown;
  on(event: string, listener: () => void): unknown;
}
