import assert from "node:assert/strict";
import type { ChildProcess } from "node:child_process";
import { once } from "node:events";
import { after, before, test } from "node:test";
import { Redis } from "ioredis";
import pg from "pg";
import { type Servers, startServers } from "./servers.js";

let servers: Servers;
before(async () => {
  servers = await startServers("redis", "postgres");
});
after(() => servers.stop());

test("what was started answers", async () => {
  const redis = new Redis(servers.url("redis"));
  assert.equal(await redis.ping(), "PONG");
  redis.disconnect();
  const postgres = new pg.Client(servers.url("postgres"));
  await postgres.connect();
  const { rows } = await postgres.query("SELECT 1 AS one");
  assert.deepEqual(rows, [{ one: 1 }]);
  await postgres.end();
});

test("a server that was killed is there again on the same port", async () => {
  await servers.kill("redis");
  const lost = new Redis(servers.url("redis"), { lazyConnect: true, retryStrategy: () => null });
  lost.on("error", () => undefined); // it rejects below, too
  await assert.rejects(lost.connect());
  await servers.start("redis");
  const redis = new Redis(servers.url("redis"));
  assert.equal(await redis.ping(), "PONG");
  redis.disconnect();
});

test("a database of one's own is empty", async () => {
  const url = await servers.database("one_more");
  const postgres = new pg.Client(url);
  await postgres.connect();
  const { rows } = await postgres.query("SELECT count(*)::int AS tables FROM pg_tables WHERE schemaname = 'public'");
  assert.deepEqual(rows, [{ tables: 0 }]);
  await postgres.end();
});

test("servers whose program was killed are stopped already", { timeout: 60_000 }, async () => {
  const killed = await startServers("redis");
  const { program } = killed as unknown as { program: ChildProcess };
  program.kill("SIGKILL");
  await once(program, "exit");
  await killed.stop();
});
