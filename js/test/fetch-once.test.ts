import assert from "node:assert/strict";
import { setImmediate } from "node:timers/promises";
import { suite, test } from "node:test";

import { ConflictError, OnceError, RefusedError, type Work } from "../src/fetch/index.js";
import type { Swap } from "../src/store.js";
import { clock, events, gated, PAYLOAD, store, tab, until } from "./tab.js";

const fails = (error: unknown) => () => Promise.reject(error);

suite("once", () => {
  test("the work is done once, and every later call has its outcome", async () => {
    const keys: string[] = [];
    const work = async ({ key, attempt }: Work) => {
      keys.push(key);
      assert.equal(attempt, 1);
      return { id: 7 };
    };
    for (const client of [tab(), tab()]) {
      assert.deepEqual(await client.once("order", PAYLOAD, work), { id: 7 });
      assert.deepEqual(await client.once("order", PAYLOAD, work), { id: 7 });
    }
    assert.equal(keys.length, 1);
    assert.match(keys[0]!, /^[\da-f]{8}-[\da-f]{4}-4[\da-f]{3}-[89ab][\da-f]{3}-[\da-f]{12}$/);
    assert.deepEqual(events.map(({ type }) => type), ["started", "finished", "joined", "joined", "joined"]);
  });

  test("many at once, and many requests of one work, are no leak of listeners", async (t) => {
    const warnings: Error[] = [];
    const hear = (warning: Error) => warnings.push(warning);
    process.on("warning", hear);
    t.after(() => process.off("warning", hear));
    const client = tab({ fetch: async () => new Response("ok") });
    const many = Array.from({ length: 20 }, (_, at) => at);
    const { work, given, open } = gated<string>();
    const all = many.map((at) => client.once([at], PAYLOAD, work));
    await until(() => given.length === 20);
    for (const _ of many) await given[0]!.fetch("http://localhost/", { method: "POST" });
    open("done");
    await Promise.all(all);
    await setImmediate();
    assert.deepEqual(warnings.map(({ message }) => message), []);
  });

  test("an outcome of no value is one", async () => {
    for (const [n, value] of [undefined, null, 0, "", false].entries()) {
      let times = 0;
      const work = async () => {
        times++;
        return value;
      };
      for (let call = 0; call < 2; call++) assert.equal(await tab().once([n], PAYLOAD, work), value);
      assert.equal(times, 1, `${value}`);
    }
  });

  test("the key is on the slot before the work begins", async () => {
    await tab().once("order", PAYLOAD, async ({ key }) => {
      assert.deepEqual(await tab().peek("order"), { status: "pending", key });
    });
  });

  test("what is published after the outcome does not undo it", async () => {
    let late!: Work;
    await tab().once("order", PAYLOAD, async (work) => {
      late = work;
      return "done";
    });
    await late.publish("late");
    assert.deepEqual(await tab().peek("order"), { status: "done", key: late.key, data: "done" });
  });

  test("another tab waits for the outcome, and is woken by it", async () => {
    const { work, given, began, open } = gated<string>();
    const first = tab().once("order", PAYLOAD, work);
    await began;
    const second = tab().once("order", PAYLOAD, work);
    await until(() => clock.sleepers === 2);
    open("done");
    assert.deepEqual([await first, await second], ["done", "done"]);
    assert.equal(given.length, 1);
    assert.equal(clock.sleepers, 0, "nobody sleeps on");
  });

  test("while the work goes on nobody takes over, however long it takes", async () => {
    const { work, given, began, open } = gated<string>();
    const first = tab().once("order", PAYLOAD, work);
    await began;
    const second = tab().once("order", PAYLOAD, work);
    await until(() => clock.sleepers === 2);
    await clock.advance(600_000);
    open("done");
    assert.deepEqual([await first, await second], ["done", "done"]);
    assert.equal(given.length, 1);
  });

  test("where an owner dies, its key goes on when its lease is over; late, it changes nothing", async () => {
    const [dead, heir] = [gated<string>(), gated<string>()];
    // Its timers never come.
    const frozen = { ...clock, sleep: () => new Promise<void>(() => {}) };
    const late = tab({ clock: frozen }).once("order", PAYLOAD, dead.work);
    await dead.began;
    const second = tab().once("order", PAYLOAD, heir.work);
    await until(() => clock.sleepers === 1);
    await clock.advance(29_999);
    assert.equal(heir.given.length, 0);
    await clock.advance(1);
    await heir.began;
    assert.deepEqual([heir.given[0]!.key, heir.given[0]!.attempt], [dead.given[0]!.key, 2]);
    dead.open("late");
    assert.equal(await late, "late", "its own caller has what came of it");
    heir.open("heir");
    assert.equal(await second, "heir");
    assert.equal((await tab().peek("order"))?.data, "heir");
  });

  test("users, and intents that look alike, are apart", async () => {
    const intents = ["a", ["a"], ["a", "b"], ["ab"], [1], ["1"], [["a"].join()], "[\"a\"]"];
    let ran = 0;
    for (const user of ["ada", "grace"]) {
      for (const intent of intents) {
        await tab({ user }).once(intent as string, PAYLOAD, async () => void ran++);
      }
    }
    assert.equal(ran, 2 * (intents.length - 1), "[\"a\"] came twice: joined, it is the same list");
  });

  test("an intent that is none, and a user who is nobody, are refused before the store is asked", async () => {
    const asked: Swap[] = [];
    const client = tab({ store: { swap: (swap) => (asked.push(swap), store.swap(swap)) } });
    for (const intent of [[], [undefined], [Number.NaN], [{}], null, 5]) {
      await assert.rejects(client.once(intent as never, PAYLOAD, async () => {}), TypeError);
    }
    await assert.rejects(tab({ user: () => "" }).once("order", PAYLOAD, async () => {}), TypeError);
    assert.equal(asked.length, 0);
  });
});

suite("work that comes to nothing", () => {
  test("throws what it threw, and the next call goes on with its key and what it published", async () => {
    const lost = new Error("lost");
    let key: string;
    const first = tab().once("order", PAYLOAD, async (work) => {
      key = work.key;
      await work.publish({ id: 7 });
      throw lost;
    });
    await assert.rejects(first, (error) => error === lost);
    assert.deepEqual(await tab().peek("order"), { status: "interrupted", key: key!, data: { id: 7 } });
    const again = await tab().once("order", PAYLOAD, async (work) => [work.key, work.attempt]);
    assert.deepEqual(again, [key!, 2]);
  });

  test("keeps its payload: another one is a conflict until it is settled", async () => {
    await assert.rejects(tab().once("order", PAYLOAD, fails(new Error("lost"))));
    const other = { file: "b.mp4" };
    await assert.rejects(tab().once("order", other, async () => {}), (error) => {
      assert.ok(error instanceof ConflictError);
      assert.deepEqual([error.code, error.retryable, error.status], ["CONFLICT", false, undefined]);
      return true;
    });
    await tab().settle("order");
    await tab().once("order", other, async () => {});
  });

  test("gives the key up where the server refused", async () => {
    const keys: string[] = [];
    const refused = async ({ key }: Work) => {
      keys.push(key);
      throw new RefusedError("REFUSED", false);
    };
    await assert.rejects(tab().once("order", PAYLOAD, refused), RefusedError);
    assert.equal(await tab().peek("order"), undefined);
    await assert.rejects(tab().once("order", { mended: true }, refused), RefusedError);
    assert.notEqual(keys[0], keys[1]);
  });

  test("an abort rejects with its reason at once, and keeps the key", async () => {
    const { work, given, began } = gated<void>();
    const over = new AbortController();
    const first = tab().once("order", PAYLOAD, work, { signal: over.signal });
    await began;
    const reason = new Error("the person left");
    over.abort(reason);
    await assert.rejects(first, (error) => error === reason);
    assert.equal(given[0]!.signal.reason, reason);
    assert.equal(clock.sleepers, 0);
    assert.equal(await tab().once("order", PAYLOAD, async ({ key }) => key), given[0]!.key);
  });

  test("an abort ends the waiting for another tab", async () => {
    const { work, began, open } = gated<string>();
    const first = tab().once("order", PAYLOAD, work);
    await began;
    const over = new AbortController();
    const second = tab().once("order", PAYLOAD, work, { signal: over.signal });
    await until(() => clock.sleepers === 2);
    over.abort();
    await assert.rejects(second, { name: "AbortError" });
    open("done");
    assert.equal(await first, "done");
    await assert.rejects(tab().once("order", PAYLOAD, work, { signal: over.signal }), { name: "AbortError" });
  });

  test("close ends what is at work, and keeps its key", async () => {
    const { work, given, began } = gated<void>();
    const client = tab();
    const first = client.once("order", PAYLOAD, work);
    await began;
    client.close();
    await assert.rejects(first, { code: "CLOSED" });
    await assert.rejects(client.once("order", PAYLOAD, work), { code: "CLOSED" });
    assert.equal((await tab().peek("order"))?.key, given[0]!.key);
  });
});

suite("work that asks for its own intent", () => {
  const never = () => assert.fail("it ran");
  /** Carries out work that would wait for itself, were it let. */
  const carried = <T>(intent: string, work: (work: Work) => Promise<T>) =>
    tab().once(intent, PAYLOAD, work, { signal: AbortSignal.timeout(5000) });

  test("is told so at once, whichever client it asks", async () => {
    const client = tab();
    for (const asked of [client, tab()]) {
      const work = () => asked.once<void>("order", PAYLOAD, never);
      const first = client.once("order", PAYLOAD, work, { signal: AbortSignal.timeout(5000) });
      await assert.rejects(first, (error) => {
        assert.ok(error instanceof OnceError);
        assert.deepEqual([error.code, error.retryable], ["NESTED", false]);
        assert.match(error.message, /another intent/);
        return true;
      });
    }
    assert.equal((await client.peek("order"))?.status, "interrupted");
    assert.equal(await client.once("order", PAYLOAD, async () => "mended"), "mended");
  });

  test("is told so later, too, where it hands on its signal", async () => {
    await carried("order", async ({ signal }) => {
      await setImmediate();
      await assert.rejects(tab().once("order", PAYLOAD, never, { signal }), { code: "NESTED" });
    });
  });

  test("is told so by way of other intents", async () => {
    await carried("order", () =>
      tab().once("payment", PAYLOAD, async ({ signal }) => {
        await setImmediate();
        return tab().once("receipt", PAYLOAD, () => tab().once("order", PAYLOAD, never), { signal });
      }),
    ).then(never, (error: OnceError) => assert.equal(error.code, "NESTED"));
  });

  test("may ask for others, and whoever asks meanwhile waits as ever", async () => {
    let joined: Promise<string> | undefined;
    const outcome = await carried("order", async ({ signal }) => {
      const other = await tab().once("payment", PAYLOAD, async () => "paid", { signal });
      joined = tab().once("order", PAYLOAD, never);
      return other;
    });
    assert.deepEqual([outcome, await joined], ["paid", "paid"]);
  });

  test("may ask when it has ended, with the signal that it had", async () => {
    let had!: AbortSignal;
    await carried("order", async ({ signal }) => {
      had = signal;
      return "done";
    });
    assert.equal(await tab().once("order", PAYLOAD, never, { signal: had }), "done");
  });
});

suite("a page that is refused a BroadcastChannel", () => {
  const real = globalThis.BroadcastChannel;
  for (const [why, channel] of Object.entries({
    missing: undefined,
    "refused, as where site data is blocked": class {
      constructor() {
        throw new DOMException("denied", "SecurityError");
      }
    },
  })) {
    test(`${why}: the work is done, and its caller has the outcome`, async () => {
      Object.assign(globalThis, { BroadcastChannel: channel });
      try {
        assert.equal(await tab().once("order", PAYLOAD, async () => "done"), "done");
        assert.deepEqual((await tab().peek("order"))?.status, "done");
        await tab().settle("order");
      } finally {
        Object.assign(globalThis, { BroadcastChannel: real });
      }
    });
  }
});

test("work that aborts and throws at once leaves no rejection that nobody handles", async () => {
  const stray: unknown[] = [];
  const seen = (error: unknown) => void stray.push(error);
  process.on("unhandledRejection", seen);
  try {
    const over = new AbortController();
    const work = () => {
      over.abort();
      throw new Error("at once");
    };
    await assert.rejects(tab().once("order", PAYLOAD, work, { signal: over.signal }), { message: "at once" });
    await setImmediate();
    assert.deepEqual(stray, []);
  } finally {
    process.off("unhandledRejection", seen);
  }
});
