/** Services in Rust and in JavaScript share the records of one server. */
import assert from "node:assert/strict";
import { after, before, beforeEach, test } from "node:test";
import { createIdempotency } from "idemp";
import { redisStore } from "idemp/redis";
import { Redis } from "ioredis";
import { type Servers, startServers } from "../servers.js";
import { claim, lies, outcome, wins } from "./asks.js";
import { inRust } from "./hand-over.js";
import { isHandedOver } from "./handed-over.js";
import { CLIENTS, CLUSTERS, ioredis, nodeRedis } from "./redis-clients.js";

let servers: Servers;
let clustered: Servers;
let admin: Redis;
before(async () => {
  [servers, clustered] = await Promise.all([startServers("redis"), startServers("cluster")]);
  admin = new Redis(servers.url("redis"));
});
after(async () => {
  admin?.disconnect();
  await Promise.all([servers?.stop(), clustered?.stop()]);
});
beforeEach(() => admin.flushall());

for (const [label, connect] of Object.entries(CLIENTS)) {
  test(`${label}: a lease begun in one language is finished in the other`, async () => {
    const url = servers.url("redis");
    const { client, end } = await connect(url);
    await isHandedOver(url, createIdempotency({ store: redisStore(client) }));
    await end();
  });
}

for (const [label, connect] of Object.entries(CLUSTERS)) {
  test(`${label}: a lease begun in one language is finished in the other`, async () => {
    const urls = clustered.urls("cluster");
    const { client, end } = await connect(urls);
    await admin.flushall();
    for (const url of urls) {
      const node = new Redis(url);
      await node.flushall().catch(() => undefined); // a replica follows
      node.disconnect();
    }
    await isHandedOver(urls[0] as string, createIdempotency({ store: redisStore(client) }));
    await end();
  });
}

test("both languages run the script under one name, so the server keeps it once", async () => {
  const { client, end } = await ioredis(servers.url("redis"));
  await admin.script("FLUSH");
  // Rust loads both forms when it connects.
  await inRust(servers.url("redis"), "begin", "user-1", "key-1", "{}");
  await admin.config("RESETSTAT");
  const store = redisStore(client);
  const begun = claim("a", { keepFor: 500 });
  await wins(store, begun);
  await wins(store, outcome(begun, "done"));
  assert.ok(await lies(store, "a"));
  assert.match(await admin.info("commandstats"), /cmdstat_evalsha:/);
  assert.doesNotMatch(await admin.info("commandstats"), /cmdstat_eval:/, "no text was sent");
  await end();
});

test("a key prefix of ioredis stands before the store's, and one of redis does not", async () => {
  for (const [connect, begins] of [[ioredis, "app:idemp:"], [nodeRedis, "idemp:"]] as const) {
    const { client, end } = await connect(servers.url("redis"), { keyPrefix: "app:" });
    const store = redisStore(client);
    const [begun, short] = [claim("a"), claim("b", { keepFor: 900 })];
    await wins(store, begun);
    await wins(store, short);
    assert.equal((await store.swap(claim("a"))).won, false);
    await wins(store, outcome(begun, "done"));
    assert.equal(Buffer.from((await lies(store, "a"))?.body ?? []).toString(), "done");
    const keys = await admin.keys("*");
    assert.equal(keys.length, 2);
    assert.ok(keys.every((key) => key.startsWith(begins)), keys.join());
    await admin.flushall();
    await end();
  }
});
