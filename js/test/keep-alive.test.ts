/** What keeps a lease while the work runs. */
import "../src/core/server.js";
import assert from "node:assert/strict";
import { suite, test, type TestContext } from "node:test";
import { fingerprintOf } from "../src/core/fingerprint.js";
import { createIdempotency } from "../src/idempotency.js";
import { keptAlive } from "../src/keep-alive.js";
import { switchedStore } from "./switched-store.js";

const THIRD = 20_000;

/** A lease of a minute that is kept alive, by a clock that is moved on a third of it at a time. */
async function kept(t: TestContext) {
  t.mock.timers.enable({ apis: ["setInterval"] });
  const store = switchedStore();
  const decision = await createIdempotency({ store }).begin(["ada"], "k", fingerprintOf({}));
  assert.ok(decision.type === "miss");
  const awake = keptAlive(decision.lease, THIRD);
  t.after(() => awake.stop());
  const thirds = async (count: number) => {
    for (let at = 0; at < count; at++) {
      t.mock.timers.tick(THIRD);
      await new Promise(setImmediate);
    }
  };
  return { store, lease: decision.lease, thirds, renewals: () => store.swaps - 1 };
}

suite("a lease that is kept alive", () => {
  test("is renewed each third of it, whatever became of the renewal before", async (t) => {
    const { store, thirds, renewals } = await kept(t);
    await thirds(3);
    assert.equal(renewals(), 3);
    store.always = "full";
    await thirds(2);
    assert.equal(renewals(), 5);
  });

  test("puts one renewal at a time to a store that hangs", async (t) => {
    const { store, thirds, renewals } = await kept(t);
    store.always = "held";
    await thirds(10);
    assert.equal(renewals(), 1);
    store.always = "done";
    store.go();
    await store.done(1 + 1);
    await new Promise(setImmediate);
    await thirds(2);
    assert.equal(renewals(), 3, "and goes on when that one has its answer");
  });

  test("is not asked for once it is lost", async (t) => {
    const { lease, thirds, renewals } = await kept(t);
    await lease.release();
    await thirds(5);
    assert.equal(renewals(), 1 + 1, "the release, and the renewal that was told so");
  });
});
