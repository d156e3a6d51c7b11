/** Servers that cannot be trusted with records are refused, and what a server refuses is told apart. */
import assert from "node:assert/strict";
import { after, before, beforeEach, describe, test } from "node:test";
import { StoreError } from "idemp";
import { type RedisStoreOptions, redisStore } from "idemp/redis";
import { Redis } from "ioredis";
import { createSentinel } from "redis";
import { type Servers, startServers } from "../servers.js";
import { claim, failure, kind, lies, name, outcome, read, until, wins } from "./asks.js";
import { CLIENTS, type Connected, ioredis, ioredisCluster, nodeRedis, nodeRedisCluster } from "./redis-clients.js";

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
beforeEach(async () => {
  await admin.flushall();
  await admin.config("SET", "maxmemory", "0", "maxmemory-policy", "noeviction");
});

/** Under which the server has it. */
const keyOf = (key: string) => Buffer.concat([Buffer.from("idemp:"), Buffer.from(name(key), "hex")]);

async function using<T>(connected: Promise<Connected>, work: (connected: Connected) => Promise<T>): Promise<T> {
  const client = await connected;
  try {
    return await work(client);
  } finally {
    await client.end();
  }
}

for (const [label, connect] of Object.entries(CLIENTS)) {
  describe(label, () => {
    const on = (work: (store: ReturnType<typeof redisStore>) => Promise<void>, options: RedisStoreOptions = {}) =>
      using(connect(servers.url("redis")), ({ client }) => work(redisStore(client, options)));

    test("a server that may evict records grants no lease, unless that is accepted", async () => {
      await admin.config("SET", "maxmemory", "100mb", "maxmemory-policy", "volatile-ttl");
      await on(async (store) => {
        for (const asked of [() => store.check(), () => store.swap(claim("a"))]) {
          const error = await failure(asked());
          assert.equal(error.code, "STORE_UNUSABLE");
          assert.equal(kind(error), "evicts");
          assert.match(error.message, /volatile-ttl/);
        }
        assert.equal(await lies(store, "a"), undefined);
      });
      await on(async (store) => void (await wins(store, claim("a"))), { allowEviction: true });
    });

    test("a policy that is changed at run time is noticed before a later begin, and what was begun can be finished", async () => {
      await on(
        async (store) => {
          const begun = claim("begun");
          await wins(store, begun);
          await admin.config("SET", "maxmemory", "100mb", "maxmemory-policy", "allkeys-lru");
          await until("it is noticed", async () => {
            const asked = await store.swap(claim("a")).catch((error: unknown) => error);
            return asked instanceof StoreError && kind(asked) === "evicts";
          });
          await wins(store, outcome(begun, "done"));
          await admin.config("SET", "maxmemory-policy", "noeviction");
          await until("it is noticed", () => store.swap(claim("b")).then(() => true, () => false));
        },
        { checkEvery: 1 },
      );
    });

    test("a policy that comes with another connection is noticed before the next begin", async () => {
      await on(async (store) => {
        await wins(store, claim("a"));
        await admin.config("SET", "maxmemory", "100mb", "maxmemory-policy", "allkeys-lru");
        await admin.call("CLIENT", "KILL", "TYPE", "normal");
        await until("it is connected again", () => lies(store, "a").then(() => true, () => false));
        assert.equal(kind(await failure(store.swap(claim("b")))), "evicts");
      });
    });

    test("a full server takes nothing new, and still finishes and replays what it has", async () => {
      await on(async (store) => {
        const [begun, done] = [claim("begun"), claim("done")];
        await wins(store, begun);
        await wins(store, done);
        await wins(store, outcome(done, "done"));
        await admin.config("SET", "maxmemory", "1");
        // By commands, and by the script.
        for (const refused of [claim("new"), claim("new", { keepFor: 500 })]) {
          assert.equal((await failure(store.swap(refused))).code, "STORE_FULL");
        }
        const replay = await store.swap(claim("done"));
        assert.ok(!replay.won && Buffer.from(replay.slot?.body ?? []).toString() === "done");
        assert.ok(await lies(store, "done"));
        assert.equal(await lies(store, "new"), undefined);
        await wins(store, outcome(begun, "late"));
      });
    });

    test("what is no record is corrupt, and never vacant", async () => {
      await on(async (store) => {
        const key = keyOf("a");
        const lay: (() => Promise<unknown>)[] = [
          () => admin.set(key, "something else", "PX", 100_000),
          () => admin.set(key, "", "PX", 100_000),
          () => admin.lpush(key, "a list"),
          () => admin.set(key, "\u{1}0123456789abcdefabcdefghi\0"),
        ];
        const asks = () => [claim("a"), claim("a", { keepFor: 500 }), read("a"), outcome(claim("a"), "done")];
        for (const laid of lay) {
          await laid();
          for (const swap of asks()) assert.equal((await failure(store.swap(swap))).code, "STORE_CORRUPT");
          await admin.del(key);
        }
        // A record of a newer version, and one that somebody made to stay for ever.
        await wins(store, claim("a"));
        await admin.setrange(key, 0, "\u{2}");
        assert.equal(kind(await failure(store.swap(claim("a")))), "newer");
        await admin.setrange(key, 0, "\u{1}");
        assert.ok(await lies(store, "a"));
        await admin.persist(key);
        for (const swap of asks()) assert.equal((await failure(store.swap(swap))).code, "STORE_CORRUPT");
      });
    });

    test("a script that the server forgot is sent again", async () => {
      await on(async (store) => {
        const begun = claim("a");
        await wins(store, begun);
        await admin.script("FLUSH");
        await wins(store, outcome(begun, "done"));
        await admin.script("FLUSH");
        assert.equal(Buffer.from((await lies(store, "a"))?.body ?? []).toString(), "done");
      });
    });

    test("the key is the prefix and the name's bytes, and gone when the record is", async () => {
      await on(
        async (store) => {
          const now = await wins(store, claim("a"));
          const keys = await admin.keysBuffer("*");
          assert.deepEqual(keys, [Buffer.concat([Buffer.from("päy:"), Buffer.from(name("a"), "hex")])]);
          assert.equal(await admin.pexpiretime(keys[0] as Buffer), now + 60 * 60_000);
        },
        { prefix: "päy:" },
      );
    });
  });
}

for (const [label, connect] of [["ioredis", ioredis], ["redis", nodeRedis]] as const) {
  test(`${label}: a user who may not is unusable, and nothing is said of what was asked`, async () => {
    await admin.call("ACL", "SETUSER", "limited", "on", ">pw", "~*", "&*", "+@all", "-set", "-evalsha");
    const url = servers.url("redis").replace("redis://", "redis://limited:pw@");
    await using(connect(url), async ({ client }) => {
      const store = redisStore(client);
      for (const swap of [claim("a key"), outcome(claim("a key"), "a body")]) {
        const error = await failure(store.swap(swap));
        assert.equal(error.code, "STORE_UNUSABLE");
        assert.match(error.message, /NOPERM/);
        const shown = `${error} ${error.stack} ${JSON.stringify(error)} ${error.cause} ${JSON.stringify(error.cause)}`;
        assert.doesNotMatch(shown, /a key|a body/);
      }
    });
    await admin.call("ACL", "SETUSER", "limited", "-info");
    await using(connect(url), async ({ client }) => {
      const error = await failure(redisStore(client).check());
      assert.equal(error.code, "STORE_UNUSABLE");
    });
  });

  test(`${label}: a begin that waits for another connection waits for what is behind it`, async () => {
    await using(connect(servers.url("redis")), async ({ client }) => {
      const store = redisStore(client);
      await wins(store, claim("a"));
      await lies(store, "a");
      await admin.config("SET", "maxmemory", "100mb", "maxmemory-policy", "allkeys-lru");
      assert.ok("on" in client);
      const waits = new Promise<unknown>((resolve) => {
        client.on("reconnecting", () => resolve(store.swap(claim("b")).catch((error: unknown) => error)));
      });
      await admin.call("CLIENT", "KILL", "TYPE", "normal");
      assert.equal(kind((await waits) as StoreError), "evicts");
    });
  });

  test(`${label}: a replica is refused, and a primary that becomes one answers neither asks nor reads`, async () => {
    const other = await startServers("redis");
    const theirs = new Redis(other.url("redis"));
    try {
      await using(connect(other.url("redis")), async ({ client }) => {
        const store = redisStore(client);
        const begun = claim("a");
        await wins(store, begun);
        await theirs.replicaof("127.0.0.1", new URL(servers.url("redis")).port);
        for (const swap of [claim("a"), claim("b"), claim("b", { keepFor: 500 }), read("a"), read("b"), outcome(begun, "done")]) {
          assert.equal((await failure(store.swap(swap))).code, "STORE_UNAVAILABLE");
        }
      });
      await using(connect(other.url("redis")), async ({ client }) => {
        assert.equal(kind(await failure(redisStore(client).swap(read("a")))), "replica");
      });
    } finally {
      theirs.disconnect();
      await other.stop();
    }
  });

  test(`${label}: a client for one server is told that its server is a node of a cluster`, async () => {
    const moved: unknown[] = [];
    for (const url of clustered.urls("cluster").slice(0, 3)) {
      await using(connect(url), async ({ client }) => {
        const store = redisStore(client);
        for (let key = 0; key < 8; key++) {
          const asked = await store.swap(claim(`key-${key}`)).catch((error: unknown) => error);
          if (asked instanceof StoreError) moved.push([asked.code, /form for clusters/.test(asked.message)]);
        }
      });
    }
    assert.ok(moved.length > 0);
    for (const told of moved) assert.deepEqual(told, ["STORE_UNUSABLE", true]);
  });
}

for (const [label, connect] of [["Cluster of ioredis", ioredisCluster], ["createCluster of redis", nodeRedisCluster]] as const) {
  test(`${label}: a begin that comes when a node is lost waits for what is behind it`, async () => {
    const nodes = clustered.urls("cluster").map((url) => new Redis(url));
    const evict = (...policy: string[]) => Promise.all(nodes.map((node) => node.call("CONFIG", "SET", ...policy)));
    await using(connect(clustered.urls("cluster")), async ({ client }) => {
      const store = redisStore(client);
      const keys = Array.from({ length: 16 }, (_, key) => `${label}-${key}`);
      for (const key of keys) await wins(store, claim(key));
      await evict("maxmemory", "100mb", "maxmemory-policy", "allkeys-lru");
      assert.ok("on" in client);
      const { on } = client as { on(event: string, heard: () => void): unknown };
      const waits = new Promise<StoreError[]>((resolve) => {
        const begin = () => resolve(Promise.all(keys.map((key) => failure(store.swap(claim(`${key}-too`))))));
        for (const lost of ["-node", "node-reconnecting"]) on.call(client, lost, begin);
      });
      for (const node of nodes) await node.call("CLIENT", "KILL", "TYPE", "normal");
      for (const error of await waits) assert.equal(kind(error), "evicts");
    }).finally(async () => {
      await evict("maxmemory", "0", "maxmemory-policy", "noeviction");
      for (const node of nodes) node.disconnect();
    });
  });
}

test("an old server is told apart from a server that is away", async () => {
  // No such server is to be had here: one that says so is.
  const pipeline = { callBuffer: () => pipeline, exec: async () => [[null, Buffer.from(OLD)]] };
  const error = await failure(redisStore({ pipeline: () => pipeline, on: () => undefined }).swap(claim("a")));
  assert.equal(error.code, "STORE_UNUSABLE");
  assert.equal(kind(error), "too-old");
  assert.match(error.message, /6\.2\.14.*7\.0/);
});

const OLD = "# Server\r\nredis_version:6.2.14\r\nmaxmemory:0\r\nmaxmemory_policy:noeviction\r\nrole:master\r\n";

test("options out of their range, and what is no client, are refused before anything is asked", async () => {
  await using(ioredis(servers.url("redis")), async ({ client }) => {
    for (const options of [
      { waitForReplicas: { replicas: 0, within: "1s" } },
      { waitForReplicas: { replicas: 0.5, within: "1s" } },
      { waitForDisks: { local: false, replicas: 0, within: "1s" } },
      { waitForDisks: { local: true, replicas: 0, within: "1s" }, waitForReplicas: { replicas: 1, within: "1s" } },
    ] satisfies RedisStoreOptions[]) {
      assert.throws(() => redisStore(client, options), { code: "STORE_UNUSABLE" });
    }
    for (const options of [{ answerWithin: 0 }, { checkEvery: -1 }, { waitForReplicas: { replicas: 1, within: 0 } }]) {
      assert.throws(() => redisStore(client, options), { code: "SPAN_INVALID" });
    }
  });
  const sentinel = createSentinel({ name: "primary", sentinelRootNodes: [{ host: "127.0.0.1", port: 1 }] });
  for (const client of [undefined, null, {}, "redis://127.0.0.1/", { sendCommand() {} }, sentinel]) {
    assert.throws(() => redisStore(client as never), { code: "STORE_UNUSABLE", message: /no client that is known/ });
  }
});

test("a wait for disks takes a server that knows it", async () => {
  const info = await admin.info("server");
  const version = /redis_version:(\d+)\.(\d+)/.exec(info) as RegExpExecArray;
  const knows = Number(version[1]) > 7 || (Number(version[1]) === 7 && Number(version[2]) >= 2);
  await using(ioredis(servers.url("redis")), async ({ client }) => {
    const store = redisStore(client, { waitForDisks: { local: true, replicas: 0, within: "200ms" } });
    assert.equal(kind(await failure(store.swap(claim("a")))), knows ? "no-append-file" : "too-old");
  });
});
