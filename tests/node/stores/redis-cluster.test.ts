/** A cluster that changes under load, and copies that are waited for. */
import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";
import { StoreError } from "idemp";
import { type RedisStore, redisStore } from "idemp/redis";
import { type Cluster, Redis } from "ioredis";
import { type Servers, startServers } from "../servers.js";
import { claim, failure, kind, lies, name, outcome, read, until, wins } from "./asks.js";
import { CLIENTS, CLUSTERS, ioredisCluster } from "./redis-clients.js";

let count = 0;
const fresh = () => `key-${count++}`;
/** For what a replica is going to confirm, however slow the machine. */
const PATIENTLY = { waitForReplicas: { replicas: 1, within: "20s" } } as const;

/** Begins and finishes while something happens; afterwards all that was acknowledged has to be there. */
async function underLoad(store: RedisStore, happens: () => Promise<void>, looking = store): Promise<{ acknowledged: number; failed: number }> {
  const acknowledged: [key: string, rev: string][] = [];
  let failed = 0;
  const stop = new AbortController();
  const workers = Array.from({ length: 8 }, async () => {
    while (!stop.signal.aborted) {
      const key = fresh();
      const begun = claim(key);
      try {
        const first = await store.swap(begun);
        // A client that sends again what was not answered loses to itself.
        assert.ok(first.won || first.slot?.rev === begun.put.rev, "nobody else has the key");
        const done = outcome(begun, key);
        const second = await store.swap(done);
        assert.ok(second.won || second.slot?.rev === done.put.rev, "nobody else has the key");
        acknowledged.push([key, done.put.rev]);
      } catch (error) {
        assert.ok(error instanceof StoreError && error.retryable, String(error));
        failed += 1;
        await new Promise((resolve) => setTimeout(resolve, 2));
      }
    }
  });
  const more = async (by: number) => {
    const enough = acknowledged.length + by;
    await Promise.race([until("more is acknowledged", () => acknowledged.length >= enough), Promise.all(workers)]);
  };
  await more(200);
  await happens();
  await more(200);
  stop.abort();
  await Promise.all(workers);
  for (const [key, rev] of acknowledged) {
    const there = await lies(looking, key);
    assert.equal(there?.rev, rev, `${key} was acknowledged and is lost`);
    assert.equal(Buffer.from(there?.body ?? []).toString(), key);
  }
  return { acknowledged: acknowledged.length, failed };
}

for (const [label, connect] of Object.entries(CLUSTERS)) {
  describe(label, () => {
    let servers: Servers;
    before(async () => {
      servers = await startServers("cluster");
    });
    after(() => servers?.stop());

    test("a slot that moves is followed, and no ask fails", async (t) => {
      const { client, end } = await connect(servers.urls("cluster"));
      t.after(end);
      const store = redisStore(client, { answerWithin: "30s" });
      const there = claim("there");
      await wins(store, there);
      const moving = await Moving.begin(servers.urls("cluster"), key("there"));
      // On its way: what is vacant is claimed behind an ASK, and what has moved is found.
      const lost = await store.swap(claim("there"));
      assert.equal(!lost.won && lost.slot?.rev, there.put.rev);
      await moving.records();
      const found = await store.swap(claim("there"));
      assert.equal(!found.won && found.slot?.rev, there.put.rev);
      const done = outcome(there, "done");
      await wins(store, done);
      assert.equal((await lies(store, "there"))?.rev, done.put.rev);
      await moving.end();
      const { failed } = await underLoad(store, async () => {
        for (let slots = 0; slots < 3; slots++) {
          const moving = await Moving.begin(servers.urls("cluster"), key(`key-${count + 40 * slots}`));
          await moving.records();
          await moving.end();
        }
      });
      assert.equal(failed, 0, "a redirection is no failure");
    });

    test("a primary that is lost takes nothing with it that a replica confirmed", async (t) => {
      // A wait holds up what is asked behind it on the same connection.
      const [waiting, { client, end }] = [await connect(servers.urls("cluster")), await connect(servers.urls("cluster"))];
      t.after(() => Promise.all([waiting.end(), end()]));
      const store = redisStore(waiting.client, { answerWithin: "2s", waitForReplicas: { replicas: 1, within: "50ms" } });
      await underLoad(store, () => servers.failOver().then(() => undefined), redisStore(client));
      const lost = new Redis(servers.url("cluster"), { lazyConnect: true, retryStrategy: () => null });
      lost.on("error", () => undefined); // it rejects, too
      await assert.rejects(lost.connect());
    });
  });
}

const key = (of: string) => Buffer.concat([Buffer.from("idemp:"), Buffer.from(name(of), "hex")]);

/** A slot on its way to another primary. */
class Moving {
  private constructor(
    private readonly slot: number,
    private readonly from: Redis,
    private readonly to: Redis,
    private readonly all: Redis[],
    private readonly ids: [from: string, to: string],
  ) {}

  static async begin(urls: readonly string[], key: Buffer): Promise<Moving> {
    const all = urls.map((url) => new Redis(url));
    const slot = (await all[0]?.cluster("KEYSLOT", key)) as number;
    const primaries: Redis[] = [];
    for (const node of all) if ((await node.call("ROLE") as [string])[0] === "master") primaries.push(node);
    const owned = await Promise.all(primaries.map((node) => node.cluster("COUNTKEYSINSLOT", slot)));
    const ranges = (await (primaries[0] as Redis).cluster("SLOTS")) as unknown as [number, number, [string, number]][];
    const [, , [, port]] = ranges.find(([first, last]) => first <= slot && slot <= last) as [number, number, [string, number]];
    const from = primaries.findIndex(({ options }) => options.port === port);
    assert.ok(from >= 0 && owned.length > 1);
    const [source, target] = [primaries[from] as Redis, primaries[(from + 1) % primaries.length] as Redis];
    const ids = (await Promise.all([source, target].map((node) => node.cluster("MYID")))) as [string, string];
    await target.cluster("SETSLOT", slot, "IMPORTING", ids[0]);
    await source.cluster("SETSLOT", slot, "MIGRATING", ids[1]);
    return new Moving(slot, source, target, all, ids);
  }

  /** The records go over; the slot is still the first one's. */
  async records(): Promise<void> {
    for (;;) {
      const keys = (await this.from.callBuffer("CLUSTER", "GETKEYSINSLOT", this.slot, 100)) as Buffer[];
      if (keys.length === 0) return;
      const { host, port } = this.to.options;
      for (const key of keys) await this.from.migrate(host as string, port as number, key, 0, 5000);
    }
  }

  async end(): Promise<void> {
    for (const node of [this.to, this.from]) await node.cluster("SETSLOT", this.slot, "NODE", this.ids[1]);
    for (const node of this.all) node.disconnect();
  }
}

describe("copies are waited for", () => {
  let pair: [primary: Servers, replica: Servers];
  let admins: [primary: Redis, replica: Redis];
  before(async () => {
    pair = await Promise.all([startServers("redis"), startServers("redis")]);
    admins = [new Redis(pair[0].url("redis")), new Redis(pair[1].url("redis"))];
    await admins[1].replicaof("127.0.0.1", new URL(pair[0].url("redis")).port);
    await until("the replica is counted", async () => (await admins[0].wait(1, 500)) === 1);
  });
  after(async () => {
    for (const admin of admins ?? []) admin.disconnect();
    await Promise.all((pair ?? []).map((server) => server.stop()));
  });

  for (const [label, connect] of Object.entries(CLIENTS)) {
    test(`${label}: what the replica has not heard is acknowledged to nobody`, async (t) => {
      const [client, later] = await Promise.all([connect(pair[0].url("redis")), connect(pair[0].url("redis"))]);
      t.after(() => Promise.all([client.end(), later.end()]));
      const waits = { waitForReplicas: { replicas: 1, within: "150ms" } } as const;
      const store = redisStore(client.client, waits);
      const [patient, patientLater] = [client, later].map(({ client }) => redisStore(client, PATIENTLY)) as [RedisStore, RedisStore];
      const keys = [fresh(), fresh()] as const;
      const [begun, heard] = [claim(keys[0]), claim(keys[1])];
      for (const swap of [begun, heard, outcome(heard, "heard")]) await wins(patient, swap);
      // What is asked next is confirmed by nothing that was said before.
      await until("the replica has confirmed all", async () => {
        const told = await admins[0].info("replication");
        return /,offset=(\d+)/.exec(told)?.[1] === /master_repl_offset:(\d+)/.exec(told)?.[1];
      });
      await pair[1].pause("redis");
      const done = outcome(begun, "done");
      const next = claim(fresh());
      // Its owner; its owner again; a duplicate and a reader, on connections that wrote nothing.
      const others = redisStore(later.client, waits);
      for (const [from, swap] of [
        ...[[store, next], [store, next], [store, done], [store, done]],
        ...[[others, claim(keys[0])], [others, read(keys[0])], [others, read(keys[1])]],
      ] as [RedisStore, typeof next][]) {
        const error = await failure(from.swap(swap));
        assert.equal(error.code, "STORE_UNAVAILABLE");
        assert.equal(kind(error), "unreplicated");
      }
      await pair[1].resume("redis");
      await until("the replica is counted", async () => (await admins[0].wait(1, 500)) === 1);
      assert.equal((await lies(patientLater, keys[0]))?.rev, done.put.rev);
    });
  }

  test("replicas that there are not confirm nothing", async (t) => {
    const { client, end } = await CLIENTS.redis(pair[0].url("redis"));
    t.after(end);
    const store = redisStore(client, { waitForReplicas: { replicas: 2, within: "50ms" } });
    const error = await failure(store.swap(claim(fresh())));
    assert.equal(kind(error), "unreplicated");
    assert.match(error.message, /1, not 2/);
  });

  test("what was acknowledged with a wait outlives the primary", async (t) => {
    const { client, end } = await CLIENTS.ioredis(pair[0].url("redis"));
    t.after(end);
    const store = redisStore(client, PATIENTLY);
    const acknowledged: [string, string][] = [];
    for (let asks = 0; asks < 50; asks++) {
      const key = fresh();
      const begun = claim(key);
      await wins(store, begun);
      const done = outcome(begun, "done");
      await wins(store, done);
      acknowledged.push([key, done.put.rev]);
    }
    await pair[0].kill("redis");
    await admins[1].replicaof("NO", "ONE");
    const promoted = await CLIENTS.ioredis(pair[1].url("redis"));
    t.after(promoted.end);
    for (const [key, rev] of acknowledged) assert.equal((await lies(redisStore(promoted.client), key))?.rev, rev);
  });
});

describe("copies are waited for in a cluster", () => {
  let servers: Servers;
  before(async () => {
    servers = await startServers("cluster");
  });
  after(() => servers?.stop());

  for (const [label, connect] of Object.entries(CLUSTERS)) {
    test(`${label}: a replica confirms, two are not there, and a slot that moved is followed`, async (t) => {
      const { client, end } = await connect(servers.urls("cluster"));
      t.after(end);
      const one = redisStore(client, PATIENTLY);
      const two = redisStore(client, { waitForReplicas: { replicas: 2, within: "100ms" } });
      const keys = Array.from({ length: 8 }, fresh);
      for (const key of keys) {
        const begun = claim(key);
        await wins(one, begun);
        assert.equal(kind(await failure(two.swap(outcome(begun, "done")))), "unreplicated");
      }
      for (const moved of keys.slice(0, 3)) {
        const moving = await Moving.begin(servers.urls("cluster"), key(moved));
        await moving.records();
        await moving.end();
        assert.ok(await lies(one, moved));
      }
    });
  }

  test("a client that learns for a while from a node that has not heard of the move asks on", async (t) => {
    const { client: cluster, end } = await ioredisCluster(servers.urls("cluster"));
    t.after(end);
    const client = cluster as Cluster & { slots: string[][] };
    const store = redisStore(client, PATIENTLY);
    const name = fresh();
    const begun = claim(name);
    await wins(store, begun);
    const slot = Number(await client.cluster("KEYSLOT", key(name)));
    const wrong = client.slots.find((nodes) => nodes[0] !== client.slots[slot]?.[0]) as string[];
    let stale = 20;
    const pipeline = client.pipeline.bind(client);
    client.pipeline = (...commands) => {
      if (stale-- > 0) client.slots[slot] = [...wrong];
      return pipeline(...commands);
    };
    await wins(store, outcome(begun, "done"));
    assert.ok(stale < 0, "it was told wrong to the end");
  });
});
