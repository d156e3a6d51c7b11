/** The HTTP cases on a Redis of their own. */
import { after, before } from "node:test";
import { redisStore, type RedisStore } from "idemp/redis";
import { Redis } from "ioredis";
import { type Servers, startServers } from "../servers.js";
import { runAll, runAlone } from "./run.js";

let servers: Servers;
let redis: Redis;
let store: RedisStore;

before(async () => {
  servers = await startServers("redis");
  redis = new Redis(servers.url("redis"));
  store = redisStore(redis);
});
after(async () => {
  redis.disconnect();
  await servers.stop();
});

runAll(() => store);
runAlone(() => store);
