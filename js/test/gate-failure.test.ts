/** Owners that are late and stores that fail, behind what every middleware shares. */
import assert from "node:assert/strict";
import { suite, test, type TestContext } from "node:test";
import { fingerprintBytes } from "../src/core/fingerprint.js";
import { Gate, type GateOptions } from "../src/gate/index.js";
import { createIdempotency, type IdempotencyOptions } from "../src/idempotency.js";
import { memoryStore } from "../src/stores/memory.js";
import { awake, codeOf, created, fromLatin1, isReplay, rig, SOON, type Asked, type Seen } from "./gate-rig.js";
import { switchedStore } from "./switched-store.js";

suite("late owners", () => {
  function clocked(options: Partial<IdempotencyOptions> = {}) {
    let now = 1_700_000_000_000;
    const store = memoryStore({ now: () => now });
    return { pass: (span: number) => (now += span), ...rig({}, { ...options, store }) };
  }

  test("an owner that comes too late answers with what the winner stored", async () => {
    const { ask, pass } = clocked();
    const late = await ask({}, async (owner, run) => {
      pass(60_000);
      assert.equal((await ask()).through, "handler");
      return created(owner, run);
    });
    assert.ok(isReplay(late));
    assert.equal((late as Seen).text, "run 2");
  });

  test("or waits while the winner is at work", async () => {
    const { ask, pass } = clocked();
    let inner!: Promise<unknown>;
    let finish!: () => void;
    const late = (await ask({}, async (owner, run) => {
      pass(60_000);
      const begun = new Promise<void>((entered) => {
        inner = ask({}, async (winner, number) => {
          entered();
          await new Promise<void>((resolve) => (finish = resolve));
          return created(winner, number);
        });
      });
      await begun;
      return created(owner, run);
    })) as Seen;
    assert.deepEqual([late.code, late.header("retry-after")], ["IDEMPOTENCY_IN_PROGRESS", ["1"]]);
    finish();
    await inner;
    assert.equal(((await ask()) as Seen).text, "run 2");
  });

  test("one that failed too late answers with its own failure, and changes nothing", async () => {
    const { ask, pass } = clocked();
    const late = await ask({}, async () => {
      pass(60_000);
      await ask();
      return { type: "thrown" };
    });
    assert.equal(late.through, "handler");
    assert.ok(isReplay(await ask()));
  });

  /** A request that claims its key and then stands still, by both clocks; and what came of it. */
  async function stalled(t: TestContext, span: number, options: Partial<GateOptions<Asked>> = {}) {
    t.mock.timers.enable({ apis: ["Date"], now: 1_700_000_000_000 });
    const store = switchedStore(memoryStore({ now: () => Date.now() }));
    const made = rig(options, { store });
    store.next = ["answer held"];
    const asked = made.ask();
    await store.done(1);
    t.mock.timers.tick(span);
    return { ...made, answered: () => (store.go(), asked) };
  }

  test("a worker that stood still between its claim and the handler executes nothing, and gives the claim back", async (t) => {
    for (const options of [{}, { failOpen: true }]) {
      const { answered, ask, runs, store, gate } = await stalled(t, 57_000, options);
      const refused = (await answered()) as Seen;
      assert.deepEqual([refused.status, refused.code, refused.header("retry-after")], [503, "IDEMPOTENCY_STORE_UNAVAILABLE", ["1"]]);
      await gate.idle();
      assert.deepEqual([runs(), store.inner.size], [0, 0]);
      assert.equal((await ask({ body: "[1]" })).through, "handler", "nothing was bound");
      t.mock.timers.reset();
    }
  });

  test("and takes nothing from whoever took over meanwhile", async (t) => {
    const { answered, ask, runs } = await stalled(t, 60_000);
    assert.equal((await ask()).through, "handler");
    assert.equal(codeOf(await answered()), "IDEMPOTENCY_STORE_UNAVAILABLE");
    assert.equal(((await ask()) as Seen).text, "run 1");
    assert.equal(runs(), 1);
  });

  test("one that was only slow executes", async (t) => {
    const { answered } = await stalled(t, 56_000);
    assert.equal((await answered()).through, "handler");
  });

  test("a long handler keeps its lease", async () => {
    const { ask, store } = rig({ policy: { lease: "90ms" } });
    await ask({}, async (owner, run) => {
      await awake(store.done(1 + 9)); // three leases long
      assert.equal(codeOf(await ask()), "IDEMPOTENCY_IN_PROGRESS");
      return created(owner, run);
    });
    assert.ok(isReplay(await ask()));
  });
});

suite("a store that fails", () => {
  test("on begin: 503, and nothing runs", async () => {
    for (const fate of ["lost", "full", "corrupt", "held"] as const) {
      const { ask, store, runs } = rig({ storeTimeout: SOON });
      store.always = fate;
      const answer = (await ask()) as Seen;
      assert.deepEqual([answer.status, answer.code, runs()], [503, "IDEMPOTENCY_STORE_UNAVAILABLE", 0], fate);
    }
  });

  test("a gate that fails open executes without protection, unless the store is damaged", async () => {
    for (const fate of ["lost", "full", "held"] as const) {
      const { ask, store, runs } = rig({ storeTimeout: SOON, failOpen: true });
      store.always = fate;
      assert.equal((await ask()).through, "open", fate);
      await ask();
      assert.equal(runs(), 2);
    }
    const { ask, store } = rig({ failOpen: true });
    store.always = "corrupt";
    assert.equal(codeOf(await ask()), "IDEMPOTENCY_STORE_UNAVAILABLE");
  });

  test("an answer that was lost once costs nothing", async () => {
    const { ask, store, runs } = rig();
    store.next = ["answer lost", "done", "answer lost"];
    assert.equal((await ask()).through, "handler");
    assert.ok(isReplay(await ask()));
    assert.equal(runs(), 1);
  });

  test("on finish: the client has its answer, and it is stored later", async () => {
    const { ask, store, gate, runs } = rig();
    const first = await ask({}, (owner, run) => {
      store.always = "lost";
      return created(owner, run);
    });
    assert.equal(first.through, "handler");
    assert.equal((await ask() as Seen).status, 503);
    let idle = false;
    const over = gate.idle().then(() => (idle = true));
    assert.equal(idle, false, "shutdown waits for it");
    store.always = "done";
    await over;
    assert.ok(isReplay(await ask()));
    assert.equal(runs(), 1);
  });

  test("shutdown waits for a claim that is on its way, and for what is executed under it", async () => {
    const { ask, store, gate } = rig();
    store.next = ["held"];
    const story: string[] = [];
    const asked = ask({}, (owner, run) => {
      story.push("executed");
      return created(owner, run);
    });
    while (store.swaps === 0) await new Promise(setImmediate);
    const over = gate.idle().then(() => story.push("idle"));
    await new Promise(setImmediate);
    store.go();
    await Promise.all([asked, over]);
    assert.deepEqual(story, ["executed", "idle"]);
  });

  test("one that hangs on finish keeps no client waiting", async () => {
    const { ask, store, gate, runs } = rig({ storeTimeout: SOON });
    store.next = ["done", "held"];
    assert.equal((await ask()).through, "handler");
    await gate.idle();
    assert.ok(isReplay(await ask()));
    store.go();
    assert.ok(isReplay(await ask()), "the one that hung changed nothing");
    assert.equal(runs(), 1);
  });

  test("within the lease nothing runs again though the outcome was lost", async () => {
    let now = 1_700_000_000_000;
    const store = switchedStore(memoryStore({ now: () => now }));
    // So short a lease leaves no time to store the outcome later.
    const { ask, gate } = rig({}, { store, lease: 100 });
    store.next = ["done", "lost", "lost"];
    assert.equal((await ask()).through, "handler");
    await gate.idle();
    now += 99;
    assert.equal(codeOf(await ask()), "IDEMPOTENCY_IN_PROGRESS");
    now += 1;
    assert.equal((await ask()).through, "handler");
  });

  test("a claim that is granted too late is given back", async () => {
    for (const failOpen of [false, true]) {
      const { ask, store, gate } = rig({ storeTimeout: SOON, failOpen });
      store.next = ["held"];
      assert.equal((await ask()).through, failOpen ? "open" : "answer");
      store.go();
      await store.done(2);
      await gate.idle();
      const other = await ask({ body: "[1]" });
      // Where it was executed all the same, the key stays bound to the payload.
      assert.equal(failOpen ? codeOf(other) : other.through, failOpen ? "IDEMPOTENCY_KEY_CONFLICT" : "handler");
    }
  });

  test("a stored answer that cannot be read blocks, and is not shown", async () => {
    const of = fingerprintBytes(fromLatin1("x"));
    for (const stored of ["", "\x00secret", "\x63secret", "\x01\x03\xe7\x00secret"]) {
      const { ask, idem, runs } = rig({ failOpen: true, fingerprint: () => of });
      const decision = await idem.begin(["ada"], "k", of);
      assert.ok(decision.type === "miss");
      await decision.lease.finish(fromLatin1(stored));
      const answer = (await ask()) as Seen;
      assert.deepEqual([answer.status, answer.code, runs()], [503, "IDEMPOTENCY_STORE_UNAVAILABLE", 0]);
      assert.doesNotMatch(answer.text, /secret/);
    }
  });

  test("a store that throws what it caught blocks, even where the gate fails open", async () => {
    const idem = createIdempotency({ store: { swap: () => { throw new TypeError("fetch failed"); } } });
    const gate = new Gate(idem, { unscoped: true, failOpen: true });
    const entered = gate.enter("POST", ["k"], undefined);
    assert.ok(entered.type === "keyed");
    const target = { method: "POST", path: "/", query: undefined, contentType: undefined };
    const admitted = await gate.admit(entered.entry, {}, target, async () => new Uint8Array());
    assert.ok(admitted.type === "answer" && admitted.answer.status === 503);
  });
});
