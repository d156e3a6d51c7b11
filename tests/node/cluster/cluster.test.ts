// Four Node workers on one store, one key from all of them, and workers killed in between.
import assert from "node:assert/strict";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, test, type TestContext } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { NIGHTLY, dice } from "../dice.js";
import { type Servers, startServers } from "../servers.js";
import { ask } from "./client.js";
import { Crew } from "./crew.js";
import { judge } from "./judge.js";
import { noted, type Entry } from "./ledger.js";

/** How long new keys are asked for, in milliseconds. */
const SPAN = NIGHTLY ? 600_000 : 18_000;
const WORKERS = 4;
/** Clients of one key. */
const CLIENTS = 8;
/** Keys that are asked for at the same time. */
const KEYS = 3;
/** In milliseconds: so long a key is not decided after a kill. */
const LEASE = 600;

let servers: Servers;
let folder: string;
before(async () => {
  [servers, folder] = await Promise.all([
    startServers("redis", "postgres"),
    mkdtemp(join(tmpdir(), "idemp-cluster-")),
  ]);
});
after(async () => {
  // Something has kept this process once though all had passed and ended. It has nothing of the package in
  // it, only Node's cluster and the clients: so it says what is left, and ends.
  setTimeout(() => {
    console.error("still open:", process.getActiveResourcesInfo().join(", "));
    process.exit();
  }, 20_000).unref();
  await servers?.stop();
  await rm(folder, { recursive: true, force: true });
});

const PROMISE = "workers that are killed do nothing twice, and every client gets the one answer";

test(`four workers on one SQLite file: ${PROMISE}`, async (t) => {
  await shift(t, `sqlite:${join(folder, "keys.db")}`);
});

test(`four workers on one Redis: ${PROMISE}`, async (t) => {
  await shift(t, servers.url("redis"));
});

test(`four workers on one PostgreSQL: ${PROMISE}`, async (t) => {
  await shift(t, servers.url("postgres"));
});

async function shift(test: TestContext, store: string): Promise<void> {
  const chance = dice();
  const ledger = join(folder, `${store.slice(0, 5)}.jsonl`);
  await writeFile(ledger, "");
  const crew = await Crew.start(WORKERS, { store, ledger, lease: LEASE }, chance);
  test.after(() => crew.stop());
  const entries: Entry[] = [];
  const end = performance.now() + SPAN;
  const going = () => performance.now() < end;

  let keys = 0;
  const track = async () => {
    while (going()) {
      const key = `key-${keys++}`;
      await Promise.all(Array.from({ length: CLIENTS }, () => ask(crew.port, key, (entry) => entries.push(entry))));
    }
  };
  const harm = async () => {
    while (going()) {
      await sleep(chance.below(1500));
      crew.check();
      crew.kill();
    }
  };
  await Promise.all([harm(), ...Array.from({ length: KEYS }, track)]);

  const done = noted(ledger);
  const verdict = judge([...entries, ...done]);
  const { broken, ...counts } = verdict;
  const told = Object.entries({ ...counts, deaths: crew.deaths, kills: crew.kills });
  test.diagnostic(`${told.map(([what, count]) => `${what} ${count}`).join(", ")}; IDEMP_SEED=${chance.seed}`);
  for (const key of new Set(broken.map((what) => what.split(":")[0]))) {
    for (const entry of done) if (entry.key === key) test.diagnostic(JSON.stringify(entry));
  }
  assert.deepEqual(broken, [], `IDEMP_SEED=${chance.seed}`);
  assert.equal(verdict.keys, keys);
  assert.ok(verdict.executions <= verdict.keys + verdict.lapses + verdict.releases);
  assert.ok(crew.deaths > 0 && verdict.lapses + verdict.releases > 0 && verdict.replays > 0, "harm was done");
}
