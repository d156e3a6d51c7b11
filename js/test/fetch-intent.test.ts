import assert from "node:assert/strict";
import { suite, test } from "node:test";
import { inspect } from "node:util";

import { StoreError } from "../src/errors.js";
import type { OnceError, Work } from "../src/fetch/index.js";
import type { Store } from "../src/store.js";
import { clock, events, gated, HOUR, PAYLOAD, store, tab, until } from "./tab.js";

suite("an intent is over", () => {
  test("when it is settled: the next one is new", async () => {
    const keyOf = () => tab().once("order", PAYLOAD, async ({ key }) => key);
    const first = await keyOf();
    await tab().settle("order");
    await tab().settle("order");
    assert.equal(await tab().peek("order"), undefined);
    assert.notEqual(await keyOf(), first);
  });

  test("settled in mid-work, its caller has the result, and nobody else", async () => {
    const { work, began, open } = gated<string>();
    const first = tab().once("order", PAYLOAD, work);
    await began;
    await tab().settle("order");
    open("late");
    assert.equal(await first, "late");
    assert.equal(await tab().peek("order"), undefined);
    assert.equal(await tab().once("order", PAYLOAD, async () => "new"), "new");
  });

  for (const how of ["in mid-work", "as soon as it is done"]) {
    test(`settled ${how} while another tab waits: that one does not do the work again`, async () => {
      const { work, began, open } = gated<string>();
      const first = tab().once("order", PAYLOAD, work);
      await began;
      const waits = tab().once<string>("order", PAYLOAD, async () => assert.fail("it was done again"));
      const told = waits.catch((error: OnceError) => [error.code, error.retryable]);
      await until(() => clock.sleepers === 2);
      if (how === "in mid-work") await tab().settle("order");
      open("done");
      assert.equal(await first, "done");
      await tab().settle("order");
      // It may just have seen the outcome before that was settled.
      const outcome = await told;
      if (outcome !== "done" || how === "in mid-work") assert.deepEqual(outcome, ["SETTLED", true]);
      assert.equal(await tab().once("order", PAYLOAD, async () => "new"), "new");
    });
  }

  test("settled between the claim and the key, it begins again: no work goes by a key that is nowhere", async () => {
    let asked = 0;
    const meddled: Store = {
      async swap(swap) {
        // The second question is the key's.
        if (++asked === 2) await tab().settle("order");
        return store.swap(swap);
      },
    };
    await tab({ store: meddled }).once("order", PAYLOAD, async ({ key }) => {
      assert.equal((await tab().peek("order"))?.key, key);
    });
  });

  test("when it expires, a day after it began: with this payload or another", async () => {
    for (const [n, next] of [PAYLOAD, { file: "b.mp4" }].entries()) {
      const work = gated<string>();
      const first = tab().once([n], PAYLOAD, work.work);
      await work.began;
      await clock.advance(10_000);
      work.open("first");
      await first;
      // A lease is prolonged by a span, so it may end half a minute before the expiry.
      await clock.advance(24 * HOUR - 40_000);
      assert.equal(await tab().once([n], PAYLOAD, async () => "second"), "first");
      await clock.advance(30_000);
      assert.equal(await tab().peek([n]), undefined);
      assert.equal(await tab().once([n], next, async ({ attempt }) => attempt), 1);
    }
  });

  test("an attempt that failed long ago gives no key to a new one", async () => {
    let key = "";
    const lost = async (work: Work) => {
      key ||= work.key;
      throw new Error("lost");
    };
    const once = (work: (work: Work) => Promise<string>) => tab().once("order", PAYLOAD, work, { expiry: "2h" });
    await assert.rejects(once(lost));
    await clock.advance(HOUR);
    await assert.rejects(once(lost));
    await clock.advance(HOUR);
    assert.notEqual(await once(async (work) => work.key), key);
  });

  test("at sign-out, for this user only", async () => {
    for (const user of ["ada", "adam"]) await tab({ user }).once("order", PAYLOAD, async () => user);
    await tab().forgetAll();
    assert.equal(await tab().peek("order"), undefined);
    assert.equal((await tab({ user: "adam" }).peek("order"))?.data, "adam");
    const bare = tab({ store: { swap: (swap) => store.swap(swap) } });
    await assert.rejects(bare.forgetAll(), { code: "STORE_UNUSABLE" });
  });

  test("listeners hear of each change, until they are off", async () => {
    let heard = 0;
    const client = tab();
    const off = client.subscribe("order", () => heard++);
    await client.once("order", PAYLOAD, async ({ publish }) => publish(1));
    assert.equal(heard, 3, "a start, a publication, an outcome");
    await client.settle("order");
    await client.once("another", PAYLOAD, async () => {});
    await tab({ user: "grace" }).once("order", PAYLOAD, async () => {});
    assert.equal(heard, 4, "nothing of another intent, nor of another user");
    off();
    await client.once("order", PAYLOAD, async () => {});
    assert.equal(heard, 4);
  });
});

suite("a store that fails", () => {
  /** The store, failing at the questions that `at` names, counted from 1, after it did them. */
  function failing(...at: number[]): Store {
    let asked = 0;
    return {
      async swap(swap) {
        const swapped = await store.swap(swap);
        if (at.includes(++asked)) throw new StoreError("STORE_CORRUPT");
        return swapped;
      },
    };
  }

  for (const [what, question] of [
    ["the claim", 1],
    ["the key", 2],
  ] as const) {
    test(`at ${what}: nothing is started`, async () => {
      const broken = tab({ store: failing(question) });
      await assert.rejects(broken.once("order", PAYLOAD, () => assert.fail("it started")), StoreError);
    });
  }

  test("at the outcome: the caller has it, and the next call sends the same key", async () => {
    const broken = tab({ store: failing(3, 4) });
    const key = await broken.once("order", PAYLOAD, async (work) => work.key);
    assert.ok(key);
    assert.equal(events.at(-1)?.type, "unstored");
  });

  test("at the outcome, though it was stored: it stands, and nothing is sent with another key", async () => {
    const broken = tab({ store: failing(3) });
    await broken.once("order", PAYLOAD, async () => "first");
    assert.equal(events.at(-1)?.type, "unstored");
    assert.equal(await tab().once("order", PAYLOAD, async () => "second"), "first");
  });

  test("an outcome without a JSON form is given, and the next call sends the same key", async () => {
    const key: string[] = [];
    const work = async (work: Work) => {
      key.push(work.key);
      return 5n;
    };
    assert.equal(await tab().once("order", PAYLOAD, work), 5n);
    assert.equal(events.at(-1)?.type, "unstored");
    await tab().once("order", PAYLOAD, work);
    assert.equal(key[0], key[1]);
  });

  test("a note that is damaged is no vacancy, and its error shows nothing of it", async () => {
    const real = TextEncoder.prototype.encode;
    TextEncoder.prototype.encode = function (text) {
      return real.call(this, text?.replace(/^\{"v":1,"key":/, "secret"));
    };
    try {
      await assert.rejects(tab().once("order", PAYLOAD, () => Promise.reject(new Error("no"))));
    } finally {
      TextEncoder.prototype.encode = real;
    }
    for (const ask of [() => tab().once("order", PAYLOAD, () => assert.fail("it started")), () => tab().peek("order")]) {
      await assert.rejects(ask(), (error: Error) => {
        assert.equal(error.name, "TypeError");
        assert.doesNotMatch(inspect(error), /secr/);
        return true;
      });
    }
  });

  test("a record of a newer version is no vacancy", async () => {
    const real = TextEncoder.prototype.encode;
    TextEncoder.prototype.encode = function (text) {
      return real.call(this, text?.replace('"v":1', '"v":2'));
    };
    await tab().once("order", PAYLOAD, async () => {});
    TextEncoder.prototype.encode = real;
    await assert.rejects(tab().once("order", PAYLOAD, () => assert.fail("it started")), TypeError);
  });
});
