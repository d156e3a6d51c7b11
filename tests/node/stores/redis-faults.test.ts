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
import { crowd, kills, newKey, standstill } from "./trials.js";

let servers: Servers;
before(async () => {
  servers = await startServers("redis-durable");
});
after(() => servers?.stop());

for (const [label, connect] of Object.entries(CLIENTS)) {
  describe(label, () => {
    test("a swap is one trip, whatever it finds", async () => {
      const proxy = await Proxy.to(servers.url("redis-durable"));
      const { client, end } = await connect(proxy.url(servers.url("redis-durable")));
      const store = redisStore(client);
      // The server is looked at, and knows the scripts.
      const warm = claim(newKey(), { keepFor: 900 });
      await wins(store, warm);
      await wins(store, outcome(warm, "done"));
      await store.check();
      const key = newKey();
      const [first, short] = [claim(key), claim(newKey(), { keepFor: 900 })];
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
      await crowd(connected.map(({ client }) => redisStore(client, { answerWithin: "30s" })), 3);
      for (const { end } of connected) await end();
    });

    test("a connection that is cut in the place of the answer is unknown, and the next ask finds what was done", async () => {
      const proxy = await Proxy.to(servers.url("redis-durable"));
      const { client, end } = await connect(proxy.url(servers.url("redis-durable")));
      const store = redisStore(client, { answerWithin: "1s" });
      await store.check();
      const begun = claim(newKey());
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
      const key = newKey();
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
      await standstill(redisStore(client, { answerWithin: "150ms" }), servers, "redis", 150);
      await end();
    });

    test("what was acknowledged outlives a server that is killed, and nothing executes twice", async () => {
      const { client, end } = await connect(servers.url("redis-durable"));
      await kills(redisStore(client, { answerWithin: "1s" }), servers, "redis", 2);
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
