/** A call that the addon drives gives what the machine in JavaScript gives, step by step. */

import "../src/core/node.js";
import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, test } from "node:test";
import { fingerprintBytes, fingerprintJson } from "../src/core/fingerprint.js";
import * as machine from "../src/core/machine.js";
import { addonFor } from "../src/core/native.js";
import { slotName } from "../src/core/slot-key.js";
import { DRIVE, drive, type Driving } from "../src/driver.js";
import { IdempError } from "../src/errors.js";
import { policyOf } from "../src/policy.js";
import { memoryStore } from "../src/stores/memory.js";
import { nativeMemory } from "../src/stores/native-memory.js";
import { openedSqlite } from "../src/stores/sqlite.js";
import { Draws } from "../src/testing/draws.js";
import type { Store } from "../src/store.js";

const addon = addonFor("this test");
const folder = mkdtempSync(join(tmpdir(), "idemp-drive-"));
after(() => rmSync(folder, { recursive: true, force: true }));

/** Both hold what they hold, and are asked the same. */
interface Pair {
  readonly stepped: machine.Held;
  readonly driven: machine.Held;
}

const SLOTS = ["a", "b", "c"].map((key) => slotName(["user-1", "route"], key));
const PRINTS = ["{}", '{"a":1}'].map((body) => fingerprintJson(body));
const SPANS = { retention: 1000, lease: 100, ceiling: 250 };
const POLICIES = [
  policyOf(SPANS),
  policyOf({ ...SPANS, tombstone: 500 }),
  policyOf({ ...SPANS, onLapse: "fence" }),
  policyOf({ usage: "while-active", retention: 1000, lease: 100 }),
];
const VERBS = ["finish", "publish", "unstorable", "fence", "renew", "release", "forget"] as const;

/** Without what is drawn at random on each side. */
function shown(value: unknown): unknown {
  if (value instanceof Uint8Array) return Buffer.from(value).toString("hex");
  if (typeof value !== "object" || value === null) return value;
  if ("token" in value) {
    const { owner: _, rev: __, ...token } = machine.tokenIn(value as machine.Held);
    return { ...token, published: shown((value as machine.Held).published) };
  }
  return Object.fromEntries(Object.entries(value).map(([name, inner]) => [name, shown(inner)]));
}

async function outcome<D>(asked: () => D | Promise<D>): Promise<D | string> {
  try {
    return await asked();
  } catch (error) {
    if (error instanceof IdempError) return error.code;
    throw error;
  }
}

async function walk(count: number, open: (clock: InstanceType<typeof addon.Clock>) => Store): Promise<Record<string, number>> {
  let now = 1_000_000;
  const clock = new addon.Clock(now);
  const memory = memoryStore({ now: () => now });
  const stepping: Store = { swap: (swap) => memory.swap(swap) };
  const driving = open(clock) as Driving;
  assert.ok(DRIVE in driving && !(DRIVE in stepping));
  const draws = new Draws(20_261_122);
  const held: Pair[] = [];
  const tally: Record<string, number> = {};
  const bytes = () => draws.bytes(draws.below(4)).map((byte) => byte % 3);

  /** Asks both the same; `make` makes the call for what each holds. */
  async function both<D>(what: string, make: (side: "stepped" | "driven") => machine.Machine<D>): Promise<[D | string, D | string]> {
    const stepped = await outcome(() => drive(stepping, make("stepped")));
    const driven = await outcome(() => drive(driving, make("driven")));
    assert.deepEqual(shown(driven), shown(stepped), `${what}, step ${Object.values(tally).reduce((sum, n) => sum + n, 0)}`);
    const told = typeof stepped === "string" ? stepped : ((stepped as { type?: string } | undefined)?.type ?? "");
    tally[`${what} ${told}`] = (tally[`${what} ${told}`] ?? 0) + 1;
    return [stepped, driven];
  }

  function hold(stepped: machine.Held, driven: machine.Held): void {
    held.push({ stepped, driven });
    if (held.length > 6) held.shift();
  }

  for (let done = 0; done < count; done++) {
    if (draws.below(3) === 0) now += draws.oneOf([1, 40, 99, 100, 250, 1000]);
    clock.set(now);
    const [slot, policy] = [draws.oneOf(SLOTS), draws.oneOf(POLICIES)];
    const kind = draws.below(8);
    if (kind < 3) {
      const print = PRINTS[draws.below(5) ? 0 : 1]!;
      const [stepped, driven] = await both("begin", () => machine.begin(slot, print, policy));
      if (typeof stepped !== "string" && typeof driven !== "string" && stepped.type === "miss" && driven.type === "miss") {
        hold(stepped.lease, driven.lease);
      }
    } else if (kind === 3) await both("peek", () => machine.peek(slot, policy));
    else if (kind === 4) {
      const settled = draws.below(2) ? bytes() : undefined;
      await both("resolve", () => machine.resolve(slot, settled, policy));
    } else if (held.length > 0) {
      const pair = draws.oneOf(held);
      const unread = draws.below(4) === 0;
      const verb = draws.oneOf(VERBS);
      const said: machine.Verb = verb === "finish" || verb === "publish" ? { verb, body: bytes() } : { verb };
      const [stepped, driven] = await both(verb, (side) =>
        machine.say(unread ? { ...pair[side], published: null } : pair[side], said),
      );
      if (typeof stepped !== "string" && typeof driven !== "string" && stepped.type === "held" && driven.type === "held") {
        hold(stepped.held, driven.held);
      }
    }
  }
  await driving.close?.();
  return tally;
}

const EVERYWHERE = ["begin miss", "begin hit", "begin conflict", "begin in-progress", "begin unknown", "begin expired", "finish ended", "finish stale", "publish held", "renew ceiling", "forget ended", "resolve done", "resolve vacant"];

for (const [name, count, open] of [
  ["memory", 50_000, (clock) => nativeMemory(addon, 1000, clock)],
  ["SQLite", 3_000, (clock) => openedSqlite(join(folder, "walk.db"), { durability: "process" }, clock)],
] as [string, number, (clock: InstanceType<typeof addon.Clock>) => Store][]) {
  test(`${count} random calls are driven in ${name} to what they come to step by step`, async () => {
    const tally = await walk(count, open);
    for (const place of EVERYWHERE) assert.ok(tally[place], `${place}: ${JSON.stringify(tally)}`);
  });
}

/** The text of the answer, and of the question, is longer than what they cross in at some of these. */
test("a body of any length has the fingerprint of its bytes, as a text, too", () => {
  const sha = (kind: number, body: Uint8Array) =>
    "01" + createHash("sha256").update("idemp").update(Uint8Array.of(1, kind, 0)).update(body).digest("hex");
  for (const length of [2, 3, 21_844, 21_845, 21_846, 21_847, 65_535, 65_536, 65_537, 300_000]) {
    for (const letter of ["a", "é", "€"]) {
      const text = `"${letter.repeat(length - 2)}"`;
      const bytes = Buffer.from(text);
      assert.equal(fingerprintJson(text), sha(1, bytes), `${length} of ${letter}`);
      assert.equal(fingerprintJson(bytes), sha(1, bytes), `${length} of ${letter}, as bytes`);
      assert.equal(fingerprintBytes(bytes.subarray(1)), sha(4, bytes.subarray(1)), "not JSON");
    }
  }
  for (const make of [fingerprintBytes, fingerprintJson]) assert.equal(make(new Uint8Array()), sha(5, new Uint8Array()));
});
