/** Servers that are killed, paused and cut off: what was acknowledged is there, and nothing is vacant
 *  that is not. */
import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";
import { createIdempotency, fingerprintOf } from "idemp";
import { redisStore } from "idemp/redis";
import { type Servers, startServers } from "../servers.js";
import { claim, failure, kind, lies, outcome, read, until, wins } from "./asks.js";
import { Proxy } from "./proxy.js";
import { CLIENTS, ioredis } from "./redis-clients.js";

let servers: Servers;
before(async () => {
  servers = await startServers("redis-durable");
});
after(() => servers?.stop());

let count = 0;
const fresh = () => `key-${count++}`;

for (const [label, connect] of Object.entries(CLIENTS)) {
  describe(label, () => {
    test("a swap is one trip, whatever it finds", async () => {
      const proxy = await Proxy.to(servers.url("redis-durable"));
      const { client, end } = await connect(proxy.url(servers.url("redis-durable")));
      const store = redisStore(client);
      // The server is looked at, and knows the scripts.
      const warm = claim(fresh(), { keepFor: 900 });
      await wins(store, warm);
      await wins(store, outcome(warm, "done"));
      await store.check();
      const key = fresh();
      const [first, short] = [claim(key), claim(fresh(), { keepFor: 900 })];
      const second = outcome(first, "done");
      const swaps = [
        ...[read(key), first, claim(key), read(key), short, claim(key, { keepFor: 900 })],
        ...[second, outcome(first, "late"), { ...first, expect: second.expect, put: "remove" } as const],
        ...[{ ...first, expect: { rev: second.put.rev }, put: "remove" } as const, read(key)],
      ];
      for (const [number, swap] of swaps.entries()) {
        const before = proxy.trips;
        await store.swap(swap);
        assert.equal(proxy.trips - before, 1, `question ${number}`);
      }
      await end();
      await proxy.close();
    });

    test("of 200 callers on two connections one executes, and the others are told that it does, or has", async () => {
      const connected = await Promise.all([0, 1].map(() => connect(servers.url("redis-durable"))));
      const idems = connected.map(({ client }) => createIdempotency({ store: redisStore(client, { answerWithin: "30s" }) }));
      for (let round = 0; round < 3; round++) {
        const key = fresh();
        const callers = Array.from({ length: 200 }, async (_, caller) => {
          const idem = idems[caller % 2] as (typeof idems)[0];
          const decision = await idem.begin(["user-1"], key, fingerprintOf({ amount: 100 }));
          if (decision.type === "miss") await decision.lease.finish(Buffer.from(`by ${caller}`));
          return { caller, decision };
        });
        const told = await Promise.all(callers);
        const won = told.filter(({ decision }) => decision.type === "miss");
        assert.equal(won.length, 1, `round ${round}`);
        for (const { decision } of told) {
          if (decision.type === "hit") assert.equal(Buffer.from(decision.replay.outcome).toString(), `by ${won[0]?.caller}`);
          else assert.ok(["miss", "in-progress"].includes(decision.type), decision.type);
        }
      }
      for (const { end } of connected) await end();
    });

    test("a connection that is cut in the place of the answer is unknown, and the next ask finds what was done", async () => {
      const proxy = await Proxy.to(servers.url("redis-durable"));
      const { client, end } = await connect(proxy.url(servers.url("redis-durable")));
      const store = redisStore(client, { answerWithin: "1s" });
      await store.check();
      const begun = claim(fresh());
      await lies(store, "warm");
      proxy.cutNextAnswer();
      const asked = await store.swap(begun).catch((error: unknown) => error);
      // ioredis sends what was not answered again, and then it lost, to itself.
      if (!(asked instanceof Error)) assert.equal((asked as { won: boolean }).won, false);
      else assert.equal((asked as { code?: string }).code, "STORE_UNAVAILABLE");
      const idem = createIdempotency({ store });
      await until("it is connected again", () => lies(store, "warm").then(() => true, () => false));
      const replay = await store.swap({ ...claim("x"), slot: begun.slot });
      assert.equal(!replay.won && replay.slot?.rev, begun.put.rev, "it was done");
      // A begin whose answer was lost is granted, and once.
      const key = fresh();
      proxy.cutNextAnswer();
      const decisions = [];
      for (let asks = 0; asks < 2; asks++) {
        const decision = await idem.begin(["user-1"], key, fingerprintOf(1)).catch((error: { code: string }) => ({ type: error.code }));
        decisions.push(decision.type);
      }
      assert.equal(decisions[0] === "miss" || decisions[0] === "STORE_UNAVAILABLE", true, decisions.join());
      assert.equal(decisions[1], "in-progress", decisions.join());
      await end();
      await proxy.close();
    });

    test("a server that stands still is unknown in time, and when it goes on, so does the store", async () => {
      const { client, end } = await connect(servers.url("redis-durable"));
      const store = redisStore(client, { answerWithin: "150ms" });
      const begun = claim(fresh());
      await wins(store, begun);
      await servers.pause("redis");
      const started = performance.now();
      const key = fresh();
      for (const swap of [claim(key), outcome(begun, "done"), read(key)]) {
        const error = await failure(store.swap(swap));
        assert.equal(error.code, "STORE_UNAVAILABLE");
        assert.match(error.message, /did not answer within 150 ms/);
      }
      assert.ok(performance.now() - started < 5_000);
      await servers.resume("redis");
      await until("it answers", () => lies(store, key).then(() => true, () => false));
      await end();
    });

    test("what was acknowledged outlives a server that is killed, and nothing executes twice", async () => {
      const { client, end } = await connect(servers.url("redis-durable"));
      const store = redisStore(client, { answerWithin: "1s" });
      const acknowledged: [key: string, rev: string][] = [];
      const claimed = new Map<string, number>();
      let failed = 0;
      const stop = new AbortController();
      const workers = Array.from({ length: 8 }, async () => {
        while (!stop.signal.aborted) {
          const begun = claim(fresh());
          const key = `key-${count - 1}`;
          try {
            const won = (await store.swap(begun)).won;
            claimed.set(key, (claimed.get(key) ?? 0) + Number(won));
            const done = outcome(begun, key);
            if ((await store.swap(done)).won) acknowledged.push([key, done.put.rev]);
          } catch (error) {
            assert.equal((error as { code?: string }).code, "STORE_UNAVAILABLE", String(error));
            failed += 1;
            await new Promise((resolve) => setTimeout(resolve, 2));
          }
        }
      });
      const more = async (by: number) => {
        const enough = acknowledged.length + by;
        await until("more is acknowledged", () => acknowledged.length >= enough);
      };
      for (let time = 0; time < 2; time++) {
        await more(100);
        await servers.kill("redis");
        await until("it fails", () => failed > 0);
        await servers.start("redis");
      }
      await more(100);
      stop.abort();
      await Promise.all(workers);
      for (const [key, rev] of acknowledged) assert.equal((await lies(store, key))?.rev, rev, `${key} is lost`);
      assert.ok([...claimed.values()].every((wins) => wins <= 1));
      assert.ok(acknowledged.length >= 300 && failed > 0);
      await end();
    });
  });
}

test("a server that is not there is an error with what the client said, and no vacancy", async () => {
  const nowhere = await ioredis("redis://127.0.0.1:1");
  const error = await failure(redisStore(nowhere.client, { answerWithin: "200ms" }).swap(claim("a")));
  assert.equal(error.code, "STORE_UNAVAILABLE");
  await nowhere.end();
  const closed = await ioredis("redis://127.0.0.1:1", { retryStrategy: () => null });
  const told = await failure(redisStore(closed.client).swap(claim("a")));
  assert.equal(told.code, "STORE_UNAVAILABLE");
  assert.equal(kind(told), "client");
  assert.match(told.message, /the client failed: Connection is closed/);
});
