/** The stores of the addon: the laws, and what the laws do not say. */

import "../src/core/node.js";
import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { env, execPath } from "node:process";
import { after, describe, test } from "node:test";
import { fingerprintJson } from "../src/core/fingerprint.js";
import { addonFor } from "../src/core/native.js";
import { createIdempotency } from "../src/idempotency.js";
import type { Lease } from "../src/lease.js";
import type { Store, Swap } from "../src/store.js";
import type { MemoryStore } from "../src/stores/memory.js";
import type { LeaseToken } from "../src/token.js";
import { nativeMemory } from "../src/stores/native-memory.js";
import { openedSqlite, sqliteStore, type SqliteStore } from "../src/stores/sqlite.js";
import { conformance, type Room, type Subject } from "../src/testing/index.js";
import { name, newSlot, read } from "../src/testing/world.js";
import { inRooms } from "./rooms.js";

const addon = addonFor("this test");
const folder = mkdtempSync(join(tmpdir(), "idemp-native-"));
after(() => rmSync(folder, { recursive: true, force: true }));

let files = 0;
const file = () => join(folder, `${files++}.db`);

/** The store asks for the time where JavaScript cannot be asked: so its clock is set before each question. */
function standing<S extends Store>(room: Room, open: (clock: InstanceType<typeof addon.Clock>) => S): S {
  const clock = new addon.Clock(room.now());
  return new Proxy(open(clock), {
    get(store, property) {
      clock.set(room.now());
      const value: unknown = Reflect.get(store, property, store);
      return typeof value === "function" ? value.bind(store) : value;
    },
  });
}

function holds<S extends Store>(name: string, subject: Subject<S>) {
  describe(name, () => {
    for (const law of conformance(subject)) test(law.name, law.hold);
  });
}

holds<MemoryStore>("the native memory store", {
  open: inRooms((room) => standing(room, (clock) => nativeMemory(addon, room.capacity ?? 100_000, clock))),
  purge: (store) => store.purge(),
});

/** Two openings in a room are two connections to one file. */
holds<SqliteStore>("sqliteStore", {
  open: (room) => standing(room, (clock) => openedSqlite(join(folder, `${room.name}.db`), { durability: "process" }, clock)),
  purge: (store) => store.purge(),
  limits: { unbounded: true, cannotForget: true },
});

const SCOPE = ["user-1", "POST /api/video-tasks"];
const PAYLOAD = fingerprintJson('{"a":1}');

const STORES: Readonly<Record<string, () => Store>> = {
  "the native memory store": () => nativeMemory(addon, 100_000),
  sqliteStore: () => sqliteStore(file(), { durability: "process" }),
};

for (const [name, open] of Object.entries(STORES)) {
  describe(`a call in one crossing, ${name}`, () => {
    test("tells every story that the machine tells", async () => {
      const store = open();
      const idem = createIdempotency({ store, lease: "10s", retention: "1h" });
      const first = await idem.begin(SCOPE, "k", PAYLOAD);
      assert.equal(first.type, "miss");
      const { lease } = first as { lease: Lease };
      assert.deepEqual([lease.attempt, lease.published], [1, undefined]);
      assert.equal((await lease.publish(Buffer.from("half"))).type, "held");
      assert.deepEqual(lease.published, Buffer.from("half"));

      const other = await idem.begin(SCOPE, "k", PAYLOAD);
      assert.equal(other.type, "in-progress");
      assert.ok(other.type === "in-progress" && other.other.remaining > 9_000);
      assert.deepEqual(other.other.published, new Uint8Array(Buffer.from("half")));
      assert.equal((await idem.begin(SCOPE, "k", fingerprintJson('{"a":2}'))).type, "conflict");

      assert.equal((await lease.release()).type, "ended");
      const again = await idem.begin(SCOPE, "k", PAYLOAD);
      assert.ok(again.type === "miss");
      assert.equal(again.lease.attempt, 2);
      assert.ok(again.lease.fence > lease.fence);
      assert.deepEqual(again.lease.published, new Uint8Array(Buffer.from("half")));

      const seen = await idem.peek(SCOPE, "k");
      assert.ok(seen?.state === "in-progress" && seen.live);
      assert.deepEqual(seen.body, new Uint8Array(Buffer.from("half")));
      assert.equal((await seen.lease.abandon()).type, "ended");
      assert.equal((await idem.begin(SCOPE, "k", PAYLOAD)).type, "unknown");
      assert.equal(await idem.resolve(SCOPE, "k", Buffer.from("done")), "done");
      const hit = await idem.begin(SCOPE, "k", PAYLOAD);
      assert.ok(hit.type === "hit");
      assert.deepEqual(hit.replay.outcome, new Uint8Array(Buffer.from("done")));
      assert.equal(await idem.resolve(SCOPE, "k"), "not-unknown");
      const late = await again.lease.finish(Buffer.from("late"));
      assert.ok(late.type === "stale" && late.winner);
      assert.deepEqual(late.winner.outcome, new Uint8Array(Buffer.from("done")));
      assert.equal(await idem.peek(SCOPE, "nobody"), undefined);

      // A lease from its token alone, and a verb that is repeated.
      const handed = await idem.begin(SCOPE, "handed on", PAYLOAD);
      assert.ok(handed.type === "miss");
      const resumed = idem.resume(handed.lease.token);
      assert.equal((await resumed.renew()).type, "held");
      assert.equal((await resumed.finish(Buffer.from("x"))).type, "ended");
      assert.equal((await handed.lease.finish(Buffer.from("x"))).type, "ended");
      await store.close?.();
    });

    test("outcomes of every length come back as they were, and are nobody else's", async () => {
      const store = open();
      const idem = createIdempotency({ store });
      for (const length of [0, 1, 1024, 65_000, 65_536, 1_000_000]) {
        const outcome = Uint8Array.from({ length }, (_, at) => at * 7);
        const first = await idem.begin(SCOPE, `of ${length}`, PAYLOAD);
        assert.ok(first.type === "miss");
        const given = outcome.slice();
        await first.lease.finish(given);
        given.fill(9);
        for (let time = 0; time < 2; time++) {
          const hit = await idem.begin(SCOPE, `of ${length}`, PAYLOAD);
          assert.ok(hit.type === "hit");
          assert.deepEqual(hit.replay.outcome, outcome, `${length} bytes`);
          assert.equal(hit.replay.outcome.buffer.byteLength, length, "it is a part of something larger");
          hit.replay.outcome.fill(8);
        }
      }
      await store.close?.();
    });

    test("a key or a scope that is none is refused, and nothing is asked", async () => {
      const store = open();
      const idem = createIdempotency({ store });
      const wrong: [readonly string[], string][] = [
        [SCOPE, ""],
        [SCOPE, "a\nb"],
        [SCOPE, "x".repeat(256)],
        [SCOPE, "é".repeat(128)],
        [SCOPE, "\ud800"],
        [[], "k"],
        [[""], "k"],
        [["x".repeat(100_000)], "k"],
        [Array.from({ length: 9 }, () => "p"), "k"],
        [Array.from({ length: 300 }, () => "p".repeat(255)), "k"],
      ];
      for (const [scope, key] of wrong) {
        await assert.rejects(idem.begin(scope, key, PAYLOAD), { code: "KEY_INVALID" }, `${scope.length} ${key.length}`);
      }
      await assert.rejects(idem.begin(SCOPE, "k", "nonsense" as never), { code: "MALFORMED" });
      assert.equal((await idem.begin(SCOPE, "x".repeat(255), PAYLOAD)).type, "miss");
      assert.equal((await idem.begin(["ü", "日本"], "\u{1f600}", PAYLOAD)).type, "miss");
      await store.close?.();
    });
  });
}

test("a full memory store throws, and evicts nothing", async () => {
  const idem = createIdempotency({ store: nativeMemory(addon, 1) });
  assert.equal((await idem.begin(SCOPE, "one", PAYLOAD)).type, "miss");
  await assert.rejects(idem.begin(SCOPE, "two", PAYLOAD), { code: "STORE_FULL", retryable: true });
  assert.equal((await idem.begin(SCOPE, "one", PAYLOAD)).type, "in-progress");
});

describe("sqliteStore", () => {
  const claim = (): Swap => ({ slot: name("x"), expect: "vacant", put: newSlot(60_000, 60_000) });

  test("answers at once what only reads, and what writes when it is written", async () => {
    const store = sqliteStore(file(), { durability: "process" });
    assert.equal(store.swap(read(name("x"))) instanceof Promise, false);
    // By a promise, unless the disk was as quick as we are.
    assert.equal((await store.swap(claim())).won, true);
    const lost = store.swap(claim());
    assert.ok(!(lost instanceof Promise) && !lost.won && lost.slot !== undefined);
    await store.close();
  });

  test("where it cannot be told of what has ended, that is unknown, and what comes later is heard of", async (t) => {
    const store = sqliteStore(file());
    const { tick } = addon.SqliteStore.prototype;
    t.after(() => (addon.SqliteStore.prototype.tick = tick));
    addon.SqliteStore.prototype.tick = () => {
      addon.SqliteStore.prototype.tick = tick;
      throw new Error("no promise could be made");
    };
    const write = (at: number) => store.swap({ ...claim(), slot: name(`write ${at}`) });
    // The disk may have been so quick that one has ended before it is waited for.
    await assert.rejects(async () => {
      for (let at = 0; at < 1000; at++) await write(at);
    }, /no promise could be made/);
    for (let at = 1000; at < 1010; at++) assert.equal((await write(at)).won, true);
    await store.close();
  });

  test("commits together what waits together, without a thread of Node's pool", async () => {
    // The pool has one thread, and that one reads from us, who write nothing until the end.
    const source = (path: string) => JSON.stringify(new URL(`../src/${path}.ts`, import.meta.url));
    const path = join(folder, "together.mts");
    writeFileSync(
      path,
      `import { read } from "node:fs";
       import { fingerprintJson } from ${source("core/fingerprint")};
       import ${source("core/node")};
       import { createIdempotency } from ${source("idempotency")};
       import { sqliteStore } from ${source("stores/sqlite")};
       let busy = true;
       read(0, Buffer.alloc(1), 0, 1, null, () => (busy = false));
       const store = sqliteStore(${JSON.stringify(file())});
       const idem = createIdempotency({ store });
       const keys = Array.from({ length: 300 }, (_, at) => "k" + at);
       const begun = await Promise.all(keys.map((key) => idem.begin(["s"], key, fingerprintJson("1"))));
       const ended = await Promise.all(begun.map(({ lease }) => lease.finish(new Uint8Array(100))));
       const commits = store.commits;
       await store.close();
       console.log(JSON.stringify({ busy, ended: ended.filter(({ type }) => type === "ended").length, commits }));`,
    );
    const process = spawn(execPath, ["--import", "tsx", path], {
      ...{ cwd: new URL("..", import.meta.url), env: { ...env, UV_THREADPOOL_SIZE: "1" } },
      stdio: ["pipe", "pipe", "inherit"],
    });
    const [told] = (await once(process.stdout, "data")) as [Buffer];
    process.stdin.end();
    const { busy, ended, commits } = JSON.parse(String(told)) as { busy: boolean; ended: number; commits: number };
    assert.deepEqual([busy, ended], [true, 300]);
    // How many meet depends on the disk and on who else is at work; alone each would have its own.
    assert.ok(commits < 300, `${commits} commits for 600 writes`);
    await once(process, "exit");
  });

  test("answers what was asked before it was closed, and says of the rest that it is closed", async () => {
    const store = sqliteStore(file());
    const idem = createIdempotency({ store });
    const asked = Array.from({ length: 20 }, (_, key) => idem.begin(SCOPE, `k${key}`, PAYLOAD));
    const closed = store.close();
    assert.deepEqual(new Set((await Promise.all(asked)).map(({ type }) => type)), new Set(["miss"]));
    await closed;
    await assert.rejects(idem.begin(SCOPE, "k", PAYLOAD), { code: "STORE_CLOSED", retryable: false });
    await assert.rejects(store.purge(), { code: "STORE_CLOSED" });
    await store.close();
  });

  test("purges what is gone, and says how much", async () => {
    const clock = new addon.Clock(1_000_000);
    const store = openedSqlite(file(), { durability: "process" }, clock);
    const idem = createIdempotency({ store, retention: "1m", lease: "1s" });
    for (let key = 0; key < 10; key++) await idem.begin(SCOPE, `k${key}`, PAYLOAD);
    assert.equal(await store.purge(), 0);
    clock.set(2_000_000);
    assert.deepEqual([await store.purge(3), await store.purge(), await store.purge()], [3, 7, 0]);
    await store.close();
  });

  test("a file that cannot be used says why, by the code of a store", () => {
    const text = join(folder, "text.db");
    writeFileSync(text, "this is a text, and no database at all; ".repeat(50));
    assert.throws(() => sqliteStore(text), { name: "StoreError", code: "STORE_CORRUPT" });
    const place = join(folder, "folder.db");
    mkdirSync(place);
    assert.throws(() => sqliteStore(place), { name: "StoreError", code: "STORE_UNUSABLE" });
    assert.throws(() => sqliteStore(join(folder, "none", "of.db")), { code: "STORE_UNUSABLE" });
  });

  test("an option that makes no sense is refused before a file is made", () => {
    for (const options of [{ durability: "none" }, { queue: 0 }, { queue: 1.5 }, { queue: 2 ** 32 }, { maxBytes: -1 }, { maxBytes: Infinity }]) {
      assert.throws(() => sqliteStore(file(), options as never), { code: "OPTION_INVALID" }, JSON.stringify(options));
    }
    assert.throws(() => sqliteStore(file(), { busyTimeout: 0 }), { code: "SPAN_INVALID" });
  });

  test("more writes than may wait are refused, retryably, and the others are carried out", async () => {
    const store = sqliteStore(file(), { queue: 1 });
    const swaps = Array.from({ length: 50 }, async (_, at) => store.swap({ ...claim(), slot: name(`q${at}`) }));
    const settled = await Promise.allSettled(swaps);
    const refused = settled.filter((one) => one.status === "rejected");
    assert.ok(refused.length > 0 && refused.length < 50);
    for (const { reason } of refused) {
      assert.deepEqual([reason.code, reason.retryable], ["STORE_UNAVAILABLE", true]);
      assert.match(reason.message, /more writes are waiting/);
    }
    await store.close();
  });
});

test("a lease under another policy leaves the one that it was made of as it is", async () => {
  const idem = createIdempotency({ store: nativeMemory(addon, 10), lease: "1m" });
  const decision = await idem.begin(["user-1"], "key", fingerprintJson("{}"));
  assert.ok(decision.type === "miss", decision.type);
  const { lease } = decision;
  const other = idem.under(lease, { usage: "while-active", retention: "2h" });
  assert.equal((JSON.parse(other.token) as LeaseToken).policy.usage, "while_active");
  assert.equal((JSON.parse(lease.token) as LeaseToken).policy.usage, "replay");
});
