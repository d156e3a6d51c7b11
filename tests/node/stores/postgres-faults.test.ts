/** Servers that are killed, paused and cut off, and what a question costs. */
import assert from "node:assert/strict";
import { createRequire } from "node:module";
import { after, before, describe, test } from "node:test";
import { createIdempotency, fingerprintOf } from "idemp";
import { postgresStore } from "idemp/postgres";
import pg from "pg";
import { type Servers, startServers } from "../servers.js";
import { claim, failure, lies, outcome, read, until, wins } from "./asks.js";
import { CLIENTS, pool } from "./postgres-clients.js";
import { Proxy } from "./proxy.js";
import { crowd, kills, newKey, standstill } from "./trials.js";

let servers: Servers;
before(async () => {
  servers = await startServers("postgres");
  const { client, end } = await pool(servers.url("postgres"));
  await postgresStore(client).migrate();
  await end();
});
after(() => servers?.stop());

for (const [label, connect] of Object.entries(CLIENTS)) {
  describe(label, () => {
    test("a swap is one trip, whatever it finds", async () => {
      const proxy = await Proxy.to(servers.url("postgres"));
      const { client, end } = await connect(proxy.url(servers.url("postgres")));
      const store = postgresStore(client);
      // A connection that asks one of the two kinds for the first time takes one more, to prepare it.
      for (const warm of [claim(newKey()), read(newKey())]) await store.swap(warm);
      const key = newKey();
      const [first, other] = [claim(key), claim(key)];
      const second = outcome(first, "done");
      const swaps = [
        ...[read(key), first, other, read(key), second, outcome(first, "late")],
        ...[{ ...first, expect: second.expect, put: "remove" } as const, read(key)],
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

    test("of 200 callers on two clients one executes, and the others are told that it does, or has", async () => {
      const connected = await Promise.all([0, 1].map(() => connect(servers.url("postgres"))));
      await crowd(connected.map(({ client }) => postgresStore(client, { timeout: "30s" })), 2);
      for (const { end } of connected) await end();
    });
  });
}

// A lone Client of pg is lost with its connection, and it is the caller's to make another.
const { "Client of pg": _, ...LASTING } = CLIENTS;

for (const [label, connect] of Object.entries(LASTING)) {
  describe(label, () => {
    test("a connection that is cut in the place of the answer is unknown, and the next ask finds what was done", async () => {
      const proxy = await Proxy.to(servers.url("postgres"));
      const { client, end } = await connect(proxy.url(servers.url("postgres")));
      const store = postgresStore(client);
      for (const warm of [claim(newKey()), read(newKey())]) await store.swap(warm);
      const begun = claim(newKey());
      proxy.cutNextAnswer();
      assert.equal((await failure(store.swap(begun))).code, "STORE_UNAVAILABLE");
      const replay = await store.swap({ ...claim("x"), slot: begun.slot });
      assert.equal(!replay.won && replay.slot?.rev, begun.put.rev, "it was done");
      // A begin whose answer was lost is asked again, and is granted, and once.
      const idem = createIdempotency({ store });
      const key = newKey();
      proxy.cutNextAnswer();
      assert.equal((await idem.begin(["user-1"], key, fingerprintOf(1))).type, "miss");
      assert.equal((await idem.begin(["user-1"], key, fingerprintOf(1))).type, "in-progress");
      await end();
      await proxy.close();
    });

    test("a server that stands still is unknown in time, and when it goes on, so does the store", async () => {
      const { client, end } = await connect(servers.url("postgres"));
      await standstill(postgresStore(client, { timeout: "200ms", lockWait: "100ms" }), servers, "postgres", 200);
      await end();
    });

    test("what was acknowledged outlives a server that is killed, and nothing executes twice", async () => {
      const { client, end } = await connect(servers.url("postgres"));
      await kills(postgresStore(client, { timeout: "2s" }), servers, "postgres", 1);
      await end();
    });
  });
}

test("under a default of SERIALIZABLE one executes, too, and errors mean unknown", async () => {
  const options = "-c default_transaction_isolation=serializable";
  const connected = await Promise.all([0, 1].map(() => pool(servers.url("postgres"), { options })));
  const idems = connected.map(({ client }) => createIdempotency({ store: postgresStore(client) }));
  for (let round = 0; round < 5; round++) {
    const key = newKey();
    const callers = Array.from({ length: 50 }, (_, caller) =>
      (idems[caller % 2] as (typeof idems)[0])
        .begin(["user-1"], key, fingerprintOf(1))
        .then(({ type }) => type, (error: { code: string }) => error.code),
    );
    const told = await Promise.all(callers);
    assert.ok(told.filter((type) => type === "miss").length <= 1, told.join());
    assert.ok(told.every((type) => ["miss", "in-progress", "STORE_UNAVAILABLE"].includes(type)), told.join());
    // Whoever asks again is told.
    assert.equal((await idems[0]?.begin(["user-1"], key, fingerprintOf(1)))?.type, "in-progress");
  }
  for (const { end } of connected) await end();
});

test("a pool without a free connection is unknown in time, and what comes late goes back", async () => {
  const clients = new pg.Pool({ connectionString: servers.url("postgres"), max: 1 });
  const store = postgresStore(clients, { timeout: "200ms", lockWait: "100ms" });
  const only = await clients.connect();
  assert.equal((await failure(store.swap(read("a")))).code, "STORE_UNAVAILABLE");
  only.release();
  await until("it answers", () => lies(store, "a").then(() => true, () => false));
  assert.equal(clients.idleCount, 1);
  await clients.end();
});

test("a connection that did not answer in time is not used again", async () => {
  const proxy = await Proxy.to(servers.url("postgres"));
  const clients = new pg.Pool({ connectionString: proxy.url(servers.url("postgres")), max: 1 });
  const store = postgresStore(clients, { timeout: "300ms", lockWait: "100ms" });
  const begun = claim(newKey());
  for (const warm of [claim(newKey()), read(newKey())]) await store.swap(warm);
  proxy.hold();
  assert.equal((await failure(store.swap(begun))).code, "STORE_UNAVAILABLE");
  proxy.letGo();
  // The late answer is not taken for the next one's.
  assert.equal(await lies(store, newKey()), undefined);
  const replay = await store.swap({ ...claim("x"), slot: begun.slot });
  assert.equal(!replay.won && replay.slot?.rev, begun.put.rev);
  await clients.end();
  await proxy.close();
});

test("a server that tells its errors in another language loses no connection by them", async () => {
  /** What pg makes of an error where `lc_messages` is German: it reads the severity for people. */
  class InGerman extends pg.Client {
    override query(...asked: unknown[]): never {
      const answer = Reflect.apply(super.query, this, asked) as Promise<unknown>;
      return answer.catch?.((error: { severity?: string }) => {
        const told: Record<string, string> = { ERROR: "FEHLER", FATAL: "FATAL" };
        throw Object.assign(error, { severity: told[error.severity ?? ""] ?? error.severity });
      }) as never;
    }
  }
  const clients = new pg.Pool({ connectionString: servers.url("postgres"), max: 1, Client: InGerman });
  clients.on("error", () => undefined);
  let connections = 0;
  clients.on("connect", () => connections++);
  const [there, absent] = [postgresStore(clients), postgresStore(clients, { table: "not_there" })];
  await lies(there, newKey());
  for (let time = 0; time < 3; time++) assert.equal((await failure(absent.swap(read("a")))).code, "STORE_UNUSABLE");
  await lies(there, newKey());
  assert.equal(connections, 1);
  // Where the server ends the connection it is not used again.
  const other = await pool(servers.url("postgres"));
  await other.transaction(async (_, run) => {
    await run("LOCK TABLE idempotency_keys");
    const asked = failure(there.swap(claim(newKey())));
    const ended = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE wait_event_type = 'Lock'";
    await until("it waits and is ended", async () => ((await run(ended)) as unknown[]).length === 1);
    assert.equal((await asked).code, "STORE_UNAVAILABLE");
  });
  await lies(there, newKey());
  assert.equal(connections, 2);
  await other.end();
  await clients.end();
});

test("two copies of the package on one connection do not take each other's statements", async () => {
  const copy = createRequire(import.meta.url)("idemp/postgres") as { postgresStore: typeof postgresStore };
  assert.notEqual(copy.postgresStore, postgresStore);
  const { client, end } = await pool(servers.url("postgres"), { max: 1 });
  const [first, other] = [postgresStore(client), copy.postgresStore(client, { table: "others" })];
  await other.migrate();
  const [one, two] = [claim(newKey()), claim(newKey())];
  await wins(first, one);
  await wins(other, two);
  assert.equal(await lies(first, newKey()), undefined);
  await end();
});
