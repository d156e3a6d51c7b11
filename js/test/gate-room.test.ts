/** How many are executed at once, and who waits for them. */
import assert from "node:assert/strict";
import { suite, test, type TestContext } from "node:test";
import { latin1 } from "../src/core/bytes.js";
import { fingerprintOf } from "../src/core/fingerprint.js";
import type { IdempError } from "../src/errors.js";
import type { PolicyOptions } from "../src/policy.js";
import { memoryStore } from "../src/stores/memory.js";
import { awake, codeOf, created, isReplay, rig, type Seen } from "./gate-rig.js";
import { switchedStore } from "./switched-store.js";

suite("how many at once", () => {
  test("of fifty at once one executes", async () => {
    const { ask, runs } = rig();
    const answers = await Promise.all(Array.from({ length: 50 }, () => ask()));
    assert.equal(answers.filter(({ through }) => through === "handler").length, 1);
    assert.equal(runs(), 1);
    for (const answer of answers) assert.ok(answer.through === "handler" || isReplay(answer) || codeOf(answer) === "IDEMPOTENCY_IN_PROGRESS");
  });

  test("too many owners are shed, and leave no claim", async () => {
    const { ask, store, runs } = rig({ maxOwners: 1 });
    await ask({ keys: ["done"] });
    await ask({ keys: ["first"] }, async (owner, run) => {
      const shed = (await ask({ keys: ["second"] })) as Seen;
      assert.deepEqual([shed.status, shed.code, shed.header("retry-after")], [503, "IDEMPOTENCY_OVERLOADED", ["1"]]);
      assert.ok(isReplay(await ask({ keys: ["done"] })), "a replay needs no room");
      assert.equal(codeOf(await ask({ keys: ["first"] })), "IDEMPOTENCY_IN_PROGRESS");
      return created(owner, run);
    });
    assert.equal(store.inner.size, 2, "no claim is left behind");
    assert.equal((await ask({ keys: ["second"], body: "[1]" })).through, "handler", "nothing was bound");
    assert.equal(runs(), 3);
  });

  test("shutdown waits for the last owner", async () => {
    const { ask, gate } = rig();
    await gate.idle();
    let idle = false;
    let over!: Promise<unknown>;
    await ask({}, async (owner, run) => {
      over = gate.idle().then(() => (idle = true));
      await new Promise(setImmediate);
      assert.equal(idle, false);
      return created(owner, run);
    });
    await over;
  });

  /** A gate for one owner at once, whose first handler never answers, by a clock that is moved on. */
  async function withStuck(t: TestContext, policy: PolicyOptions) {
    t.mock.timers.enable({ apis: ["Date", "setInterval", "setTimeout"], now: 1_700_000_000_000 });
    const store = switchedStore(memoryStore({ now: () => Date.now() }));
    const made = rig({ maxOwners: 1, policy }, { store });
    const seconds = async (count: number) => {
      for (let at = 0; at < count; at += 5) {
        t.mock.timers.tick(5000);
        await new Promise(setImmediate);
      }
    };
    let finish!: () => void;
    let isIdle = false;
    let first!: Promise<unknown>;
    await new Promise<void>((entered) => {
      first = made.ask({ keys: ["stuck"] }, async (owner, run) => {
        entered();
        await new Promise<void>((resolve) => (finish = resolve));
        return created(owner, run);
      });
    });
    void made.gate.idle().then(() => (isIdle = true));
    return { ...made, store, seconds, first, answer: () => finish(), isIdle: () => isIdle };
  }

  test("a handler that never answers holds its place and the shutdown until the ceiling of its lease", async (t) => {
    for (const fate of ["done", "lost", "held"] as const) {
      const { ask, seconds, store, errors, isIdle, answer } = await withStuck(t, { lease: "1m", ceiling: "130s", onLapse: "fence" });
      store.always = fate;
      await seconds(125);
      store.always = "done";
      assert.equal(codeOf(await ask({ keys: ["other"] })), "IDEMPOTENCY_OVERLOADED");
      assert.deepEqual([isIdle(), errors], [false, []], fate);
      store.always = fate;
      await seconds(10);
      assert.equal(isIdle(), true, fate);
      assert.deepEqual(errors.map((error) => (error as IdempError).code), ["HANDLER_OVERDUE"]);
      store.always = "done";
      store.go();
      await new Promise(setImmediate);
      assert.equal((await ask({ keys: ["other"] })).through, "handler", "its place is free");
      await seconds(60);
      assert.equal(errors.length, 1, "it is told once");
      // What came of it is unknown: the key is not given back.
      assert.equal(codeOf(await ask({ keys: ["stuck"], body: "[1]" })), "IDEMPOTENCY_KEY_CONFLICT");
      assert.equal(codeOf(await ask({ keys: ["stuck"] })), "IDEMPOTENCY_OUTCOME_UNKNOWN");
      answer();
      t.mock.timers.reset();
    }
  });

  test("and where it answers after all, its answer is stored, and no second place is given back", async (t) => {
    const { ask, seconds, answer, first, gate } = await withStuck(t, { lease: "1m" , ceiling: "1m" });
    await seconds(65);
    await ask({ keys: ["a"] }, async (owner, run) => {
      answer();
      await awake(first);
      assert.equal(codeOf(await ask({ keys: ["b"] })), "IDEMPOTENCY_OVERLOADED");
      return created(owner, run);
    });
    assert.ok(isReplay(await ask({ keys: ["stuck"] })));
    await gate.idle();
  });

  test("a policy of the route counts for its keys", async () => {
    const { ask } = rig({ policy: { usage: "while-active" } });
    await ask();
    assert.equal((await ask({ body: "[1]" })).through, "handler", "it ended, and the key is free");
  });

  test("what two requests share is what the application says", async () => {
    const { ask } = rig({ fingerprint: (_, body) => fingerprintOf(JSON.parse(latin1(body)).amount) });
    await ask({ body: '{"amount":5,"at":1}' });
    assert.ok(isReplay(await ask({ body: '{"amount":5,"at":2}' })));
    assert.equal(codeOf(await ask({ body: '{"amount":6}' })), "IDEMPOTENCY_KEY_CONFLICT");
  });
});
