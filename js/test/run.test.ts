import "../src/core/inline.js";
import assert from "node:assert/strict";
import { suite, test } from "node:test";

import { StoreError } from "../src/errors.js";
import { fingerprintOf } from "../src/core/fingerprint.js";
import { core, useCore } from "../src/core/registry.js";
import { createIdempotency } from "../src/idempotency.js";
import type { Lease } from "../src/lease.js";
import type { Store, Swap, Swapped } from "../src/store.js";
import { memoryStore } from "../src/stores/memory.js";
import { stall } from "./stall.js";

const SCOPE = ["ada"];
const PAYLOAD = { amount: 5 };
const bytes = (text: string) => new TextEncoder().encode(text);

/** Runs work that never ran before. */
const never = () => assert.fail("it ran again");

/** The store, and a switch: while it is off every answer is lost, and nothing is done. */
function switched(inner: Store = memoryStore()): Store & { down: boolean } {
  return {
    down: false,
    async swap(swap) {
      if (this.down) throw new StoreError("STORE_UNAVAILABLE");
      return inner.swap(swap);
    },
  };
}

suite("run", () => {
  test("the work is done once, and every repetition has its value", async () => {
    const idem = createIdempotency({ store: memoryStore() });
    assert.deepEqual(await idem.run(SCOPE, "k", PAYLOAD, () => ({ id: 7 })), { id: 7 });
    assert.deepEqual(await idem.run(SCOPE, "k", PAYLOAD, never), { id: 7 });
    await assert.rejects(idem.run(SCOPE, "k", { amount: 6 }, never), { code: "CONFLICT" });
  });

  test("work that waited for longer than its lease is not executed, and the claim is given back", async () => {
    const store = memoryStore();
    const idem = createIdempotency({ store, lease: "90ms" });
    const first = idem.run(SCOPE, "first", PAYLOAD, () => stall(120));
    await assert.rejects(idem.run(SCOPE, "second", PAYLOAD, never), { code: "IN_PROGRESS" });
    await first;
    assert.equal(store.size, 1);
  });

  test("a value that cannot be stored since the store is down is given all the same", async () => {
    const store = switched();
    const idem = createIdempotency({ store });
    const value = await idem.run(SCOPE, "k", PAYLOAD, () => {
      store.down = true;
      return "done";
    });
    assert.equal(value, "done");
    store.down = false;
    await assert.rejects(idem.run(SCOPE, "k", PAYLOAD, never), { code: "IN_PROGRESS" });
  });

  test("a value without a JSON form: it was done, and it is not done again when the lease lapses", async () => {
    let now = 1_700_000_000_000;
    const idem = createIdempotency({ store: memoryStore({ now: () => now }) });
    await assert.rejects(idem.run(SCOPE, "k", PAYLOAD, () => 5n), TypeError);
    now += 3_600_000;
    await assert.rejects(idem.run(SCOPE, "k", PAYLOAD, never), { code: "OUTCOME_UNKNOWN" });
  });

  test("a late owner has the outcome of the winner, or is told that somebody is at work", async () => {
    let now = 1_700_000_000_000;
    const store = memoryStore({ now: () => now });
    const idem = createIdempotency({ store });
    const late = idem.run(SCOPE, "k", PAYLOAD, async () => {
      now += 3_600_000;
      assert.equal(await idem.run(SCOPE, "k", PAYLOAD, () => "winner"), "winner");
      return "late";
    });
    assert.equal(await late, "winner");
    const superseded = idem.run(SCOPE, "l", PAYLOAD, async () => {
      now += 3_600_000;
      const { type } = await idem.begin(SCOPE, "l", fingerprintOf(PAYLOAD));
      assert.equal(type, "miss");
      return "late";
    });
    await assert.rejects(superseded, { code: "IN_PROGRESS" });
  });

  for (const verb of ["finish", "finishUnstorable", "abandon"] as const) {
    test(`where the work failed in ${verb} nothing is released: it may be done`, async () => {
      const store = switched();
      const idem = createIdempotency({ store });
      const work = async (lease: Lease) => {
        store.down = true;
        try {
          await (verb === "finish" ? lease.finish(bytes('"done"')) : lease[verb]());
        } finally {
          store.down = false;
        }
      };
      await assert.rejects(idem.run(SCOPE, "k", PAYLOAD, work), StoreError);
      await assert.rejects(idem.run(SCOPE, "k", PAYLOAD, never), { code: "IN_PROGRESS" });
    });
  }

  test("a message that is delivered again while it is worked on is told so, and one that comes later has its value", async () => {
    const idem = createIdempotency({ store: memoryStore() });
    const consume = (attempts: number[]) => idem.run(["queue"], "message-7", PAYLOAD, async (lease) => {
      attempts.push(lease.attempt);
      await assert.rejects(idem.run(["queue"], "message-7", PAYLOAD, never), { code: "IN_PROGRESS" });
      assert.ok(lease.remaining() > 50_000 && lease.fence > 0n);
      return "paid";
    });
    const attempts: number[] = [];
    assert.deepEqual([await consume(attempts), await consume(attempts)], ["paid", "paid"]);
    assert.deepEqual(attempts, [1]);
  });

  test("under a policy of its own: work that is held while active is new work when it ended", async () => {
    const idem = createIdempotency({ store: memoryStore() });
    const policy = { usage: "while-active", retention: "1m" } as const;
    let runs = 0;
    const nightly = () => idem.run(["jobs"], "nightly", undefined, async () => {
      runs += 1;
      await assert.rejects(idem.run(["jobs"], "nightly", undefined, never, policy), { code: "IN_PROGRESS" });
      return runs;
    }, policy);
    assert.deepEqual([await nightly(), await nightly()], [1, 2]);
    await assert.rejects(idem.run(["jobs"], "nightly", undefined, never, { lease: 0 }), { code: "SPAN_INVALID" });
  });

  test("the lease of a policy of its own is kept alive while the work runs", async (t) => {
    const inner = memoryStore();
    let swaps = 0;
    let renewed!: () => void;
    const renewals = new Promise<void>((resolve) => (renewed = resolve));
    const store: Store = {
      swap(swap) {
        // The claim, and renewals over three leases.
        if (++swaps === 1 + 9) renewed();
        return inner.swap(swap);
      },
    };
    const idem = createIdempotency({ store });
    const timer = setInterval(() => undefined, 1000); // a keep-alive keeps no process alive
    t.after(() => clearInterval(timer));
    const work = () => renewals.then(() => "done");
    assert.equal(await idem.run(SCOPE, "k", PAYLOAD, work, { lease: "90ms" }), "done");
    assert.equal(await idem.run(SCOPE, "k", PAYLOAD, never), "done");
  });

  test("where the work throws the key is free for the same payload", async () => {
    const idem = createIdempotency({ store: memoryStore() });
    const failed = new Error("no");
    await assert.rejects(idem.run(SCOPE, "k", PAYLOAD, () => Promise.reject(failed)), failed);
    assert.equal(await idem.run(SCOPE, "k", PAYLOAD, (lease) => lease.attempt), 2);
  });

  test("a stored outcome that is no JSON is an error that shows nothing of it", async () => {
    const idem = createIdempotency({ store: memoryStore() });
    const decision = await idem.begin(SCOPE, "k", fingerprintOf(PAYLOAD));
    assert.equal(decision.type, "miss");
    if (decision.type === "miss") await decision.lease.finish(bytes("secret"));
    await assert.rejects(idem.run(SCOPE, "k", PAYLOAD, never), (error: Error & { code: string }) => {
      assert.equal(error.code, "OUTCOME_UNREADABLE");
      assert.doesNotMatch(`${error} ${error.cause}`, /secr/);
      return true;
    });
  });
});

suite("a lease", () => {
  test("an answer that was overtaken takes nothing back", async () => {
    let now = 1_700_000_000_000;
    const inner = memoryStore({ now: () => now });
    let held: Promise<void> | undefined;
    const store: Store = {
      async swap(swap: Swap): Promise<Swapped> {
        const swapped = inner.swap(swap);
        now++;
        await held;
        return swapped;
      },
    };
    const decision = await createIdempotency({ store }).begin(SCOPE, "k", fingerprintOf(PAYLOAD));
    assert.ok(decision.type === "miss");
    const { lease } = decision;
    let answer!: () => void;
    held = new Promise((resolve) => (answer = resolve));
    const renewed = lease.renew();
    held = undefined;
    await lease.publish(bytes("task"));
    const token = lease.token;
    answer();
    await renewed;
    assert.deepEqual(lease.published, bytes("task"));
    assert.equal(lease.token, token);
  });
});

suite("what remains of a lease", () => {
  const lease = async () => {
    const decision = await createIdempotency({ store: memoryStore() }).begin(SCOPE, "k", fingerprintOf(PAYLOAD));
    assert.ok(decision.type === "miss");
    return decision.lease;
  };

  test("is nothing after the machine slept, though its monotonic clock stood still", async (t) => {
    const held = await lease();
    assert.ok(held.remaining() > 50_000);
    const asleep = Date.now() + 3_600_000;
    t.mock.method(Date, "now", () => asleep);
    assert.equal(held.remaining(), 0);
  });

  test("is not prolonged by a wall clock that is set back", async (t) => {
    const held = await lease();
    const before = held.remaining();
    const back = Date.now() - 3_600_000;
    t.mock.method(Date, "now", () => back);
    assert.ok(held.remaining() <= before + 1, "save for the fraction that the wall clock does not tell");
  });

  test("is nothing where the lease came from elsewhere, until it is renewed", async () => {
    const store = memoryStore();
    const idem = createIdempotency({ store });
    const decision = await idem.begin(SCOPE, "k", fingerprintOf(PAYLOAD));
    assert.ok(decision.type === "miss");
    const resumed = idem.resume(decision.lease.token);
    assert.equal(resumed.remaining(), 0);
    await resumed.renew();
    assert.ok(resumed.remaining() > 50_000);
  });
});

suite("a store's promise", () => {
  test("of another kind than the platform's is awaited, too", async () => {
    const inner = memoryStore();
    const store: Store = {
      swap: (swap) => {
        const promise = Promise.resolve(inner.swap(swap));
        return { then: promise.then.bind(promise) } as Promise<Swapped>;
      },
    };
    const idem = createIdempotency({ store });
    assert.equal(await idem.run(SCOPE, "k", PAYLOAD, () => 1), 1);
    assert.equal(await idem.run(SCOPE, "k", PAYLOAD, never), 1);
  });
});

suite("a token", () => {
  const text = async () => {
    const decision = await createIdempotency({ store: memoryStore() }).begin(SCOPE, "k", fingerprintOf(PAYLOAD));
    assert.ok(decision.type === "miss");
    return decision.lease.token;
  };

  test("is not called invalid where it is the core that fails", async () => {
    const token = await text();
    const working = core();
    const idem = createIdempotency({ store: memoryStore() });
    const trap = new WebAssembly.RuntimeError("unreachable");
    useCore(() => () => {
      throw trap;
    });
    try {
      assert.throws(() => idem.resume(token), trap);
    } finally {
      useCore(() => working);
    }
    for (const wrong of ["", "null", "{}", token.slice(1), token.replace(/"rev":"../, '"rev":"zz')]) {
      assert.throws(() => idem.resume(wrong), { code: "TOKEN_INVALID" });
    }
  });
});
