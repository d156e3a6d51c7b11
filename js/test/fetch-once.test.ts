import "../src/core/inline.js";
import assert from "node:assert/strict";
import { setImmediate } from "node:timers/promises";
import { beforeEach, suite, test } from "node:test";
import { inspect } from "node:util";

import {
  ConflictError,
  createClient,
  NetworkError,
  OnceError,
  RefusedError,
  UnknownOutcomeError,
  type Client,
  type ClientEvent,
  type ClientOptions,
  type Work,
} from "../src/fetch/index.js";
import { StoreError } from "../src/errors.js";
import type { Store, Swap } from "../src/store.js";
import { memoryStore } from "../src/stores/memory.js";
import { manualClock, type ManualClock } from "./manual-clock.js";
import { json, scriptedServer, type Act } from "./scripted-server.js";

// Here the lease is all there is; the tests in a browser have Web Locks beside it.
Object.defineProperty(globalThis, "navigator", { value: {}, configurable: true });

const HOUR = 3_600_000;
const PAYLOAD = { file: "a.mp4" };

let clock: ManualClock;
let store: Store;
let events: ClientEvent[];

beforeEach(() => {
  clock = manualClock();
  store = memoryStore({ now: () => clock.now() });
  events = [];
});

/** A tab: all of them share the store. */
function tab(options: Partial<ClientOptions> = {}): Client {
  return createClient({ user: "ada", store, clock, onEvent: (event) => events.push(event), ...options });
}

/** Work that ends when it is told to. */
function gated<T>() {
  const given: Work[] = [];
  let open!: (value: T) => void;
  let fail!: (error: unknown) => void;
  let begin!: () => void;
  const began = new Promise<void>((resolve) => (begin = resolve));
  const gate = new Promise<T>((resolve, reject) => ([open, fail] = [resolve, reject]));
  const work = (one: Work) => {
    given.push(one);
    begin();
    return gate;
  };
  return { work, given, began, open, fail };
}

/** The clock, on which a wait before a request is sent again is over at once. */
const quick = (): ManualClock => ({
  ...clock,
  sleep: (span, signal) => (span < 10_000 ? Promise.resolve() : clock.sleep(span, signal)),
});

/** Ends when `so` holds. */
async function until(so: () => boolean): Promise<void> {
  while (!so()) await setImmediate();
}

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

suite("work.fetch", () => {
  /** Orders with the client against a server that plays the acts. */
  async function ordered(acts: Act[], options: Partial<ClientOptions> = {}) {
    const server = await scriptedServer(...acts);
    let key = "";
    const client = tab({ clock: quick(), retry: { attempts: 2 }, ...options });
    const outcome = client.once("order", PAYLOAD, async (work) => {
      key = work.key;
      const response = await work.fetch(server.url, { method: "POST", body: "{}" });
      return response.text();
    });
    let data: string | undefined;
    let error: OnceError | undefined;
    try {
      data = await outcome;
    } catch (thrown) {
      error = thrown as OnceError;
    }
    await server.close();
    return { data, error, key, came: server.came };
  }

  test("sends the key, the same each time", async () => {
    const { data, key, came } = await ordered(["drop"]);
    assert.equal(data, "ok");
    assert.deepEqual(came.map(({ headers }) => headers["idempotency-key"]), [`"${key}"`, `"${key}"`]);
  });

  test("leaves a header that is there, and safe methods, alone", async () => {
    const server = await scriptedServer();
    await tab().once("order", PAYLOAD, async ({ key, fetch }) => {
      await fetch(server.url);
      await fetch(server.url, { method: "PUT", headers: { "Idempotency-Key": `"${key}/2"` } });
      await fetch(server.url, { method: "DELETE" });
      assert.deepEqual(server.came.map(({ headers }) => headers["idempotency-key"]), [
        undefined,
        `"${key}/2"`,
        `"${key}"`,
      ]);
    });
    await server.close();
  });

  const IN_PROGRESS = json(409, { code: "IDEMPOTENCY_IN_PROGRESS" });
  for (const [why, acts, name, code, retryable, kept] of [
    ["400", [json(400, { code: "BAD" })], "RefusedError", "REFUSED", false, false],
    ["404 as text", [{ status: 404, body: "no" }], "RefusedError", "REFUSED", false, false],
    ["422 of a route", [json(422, {})], "RefusedError", "REFUSED", false, false],
    ["400 after a lost answer", ["drop", { status: 400 }], "RefusedError", "REFUSED", false, true],
    ["401 after a 502", [{ status: 502 }, { status: 401 }], "RefusedError", "REFUSED", false, true],
    ["400 after a 429", [{ status: 429 }, { status: 400 }], "RefusedError", "REFUSED", false, false],
    ["429", [{ status: 429 }, { status: 429 }], "RefusedError", "BUSY", true, true],
    ["in progress", [IN_PROGRESS, IN_PROGRESS], "InProgressError", "IN_PROGRESS", true, true],
    ["another payload", [json(409, { code: "IDEMPOTENCY_KEY_CONFLICT" })], "ConflictError", "CONFLICT", false, true],
    ["another payload, ietf", [json(422, { code: "IDEMPOTENCY_KEY_CONFLICT" })], "ConflictError", "CONFLICT", false, true],
    ["unknown", [json(409, { code: "IDEMPOTENCY_OUTCOME_UNKNOWN" })], "UnknownOutcomeError", "OUTCOME_UNKNOWN", false, true],
    ["expired", [json(412, { code: "IDEMPOTENCY_KEY_EXPIRED" })], "ExpiredError", "EXPIRED", false, true],
    ["500", [{ status: 500 }], "UnknownOutcomeError", "SERVER_FAILED", true, true],
    ["503", [{ status: 503 }, { status: 503 }], "UnknownOutcomeError", "SERVER_FAILED", true, true],
    ["no answer", ["drop", "drop"], "NetworkError", "NETWORK", true, true],
  ] as [string, Act[], string, string, boolean, boolean][]) {
    test(`${why}: ${code}, and the key is ${kept ? "kept" : "given up"}`, async () => {
      const { error, key, came } = await ordered(acts);
      assert.deepEqual([error?.name, error?.code, error?.retryable], [name, code, retryable]);
      assert.ok(error instanceof OnceError);
      assert.equal(came.length, acts.length);
      const known = await tab().peek("order");
      assert.deepEqual(known, kept ? { status: "interrupted", key } : undefined);
      assert.equal(error instanceof UnknownOutcomeError, /Unknown|Network/.test(name));
      assert.equal(error instanceof NetworkError, code === "NETWORK");
    });
  }

  test("a refusal after a request that was given up keeps the key: that one may have been executed", async () => {
    const server = await scriptedServer("hang", { status: 400 });
    const impatient = tab().once("order", PAYLOAD, async ({ fetch }) => {
      const over = new AbortController();
      const first = fetch(server.url, { method: "POST", signal: over.signal });
      await server.next();
      over.abort(new TypeError("a reason of any kind"));
      await assert.rejects(first, { message: "a reason of any kind" });
      await fetch(server.url, { method: "POST" });
    });
    await assert.rejects(impatient, RefusedError);
    await server.close();
    assert.equal((await tab().peek("order"))?.status, "interrupted");
  });

  test("an error tells the server's code and request id; its body is not printed", async () => {
    const secret = { code: "NO_FUNDS", requestId: "req_9", account: "DE89370400440532013000" };
    const { error } = await ordered([json(402, secret)]);
    assert.ok(error);
    assert.deepEqual([error.status, error.serverCode, error.requestId], [402, "NO_FUNDS", "req_9"]);
    assert.deepEqual(error.body, secret);
    assert.doesNotMatch(inspect(error) + JSON.stringify(error) + error.message, /DE89/);
  });

  test("a key that the server has forgotten by now is not sent again", async () => {
    const retry = { attempts: 1, window: "1h" } as const;
    const first = await ordered(["drop"], { retry });
    assert.equal(first.came.length, 1);
    await clock.advance(HOUR);
    const second = await ordered([], { retry });
    assert.ok(second.error instanceof UnknownOutcomeError);
    assert.equal(second.error.code, "WINDOW_OVER");
    assert.deepEqual([second.error.retryable, second.came.length, second.key], [false, 0, first.key]);
  });
});

suite("client.fetch", () => {
  async function fetched(acts: Act[], use: (client: Client, url: string) => Promise<void>) {
    const server = await scriptedServer(...acts);
    await use(tab({ clock: quick(), retry: { attempts: 3 } }), server.url);
    await server.close();
    return server.came.map(({ headers, method }) => [method, String(headers["idempotency-key"])] as const);
  }

  test("gives POST and PATCH a key each, and nothing else", async () => {
    const came = await fetched([], async (client, url) => {
      for (const method of ["POST", "PATCH", "PUT", "DELETE", "GET"]) await client.fetch(url, { method });
      await client.fetch(new Request(url, { method: "POST", headers: { "Idempotency-Key": '"own"' } }));
      await client.fetch(url, { method: "PUT", idempotencyKey: "given" });
    });
    const uuid = /^"[\da-f-]{36}"$/;
    assert.match(came[0]![1], uuid);
    assert.match(came[1]![1], uuid);
    assert.notEqual(came[0]![1], came[1]![1]);
    assert.deepEqual(came.slice(2), [
      ["PUT", "undefined"],
      ["DELETE", "undefined"],
      ["GET", "undefined"],
      ["POST", '"own"'],
      ["PUT", '"given"'],
    ]);
  });

  test("one key goes with all that is sent for one call", async () => {
    const came = await fetched(["drop", { status: 503 }], async (client, url) => {
      assert.equal((await client.fetch(url, { method: "POST", body: "x" })).status, 200);
    });
    assert.equal(came.length, 3);
    assert.equal(new Set(came.map(([, key]) => key)).size, 1);
  });

  test("resolves with an error's answer, and rejects as the platform does", async () => {
    await fetched([json(400, { code: "BAD" })], async (client, url) => {
      const response = await client.fetch(url, { method: "POST" });
      assert.deepEqual([response.status, await response.json()], [400, { code: "BAD" }]);
    });
    const came = await fetched(["drop"], async (client, url) => {
      await assert.rejects(client.fetch(url, { method: "POST", retry: false }), TypeError);
      const signal = AbortSignal.abort();
      await assert.rejects(client.fetch(url, { method: "POST", signal }), { name: "AbortError" });
      await assert.rejects(client.fetch("no address"), TypeError);
    });
    assert.equal(came.length, 1);
  });

  test("with an intent, the answer is remembered, byte for byte", async () => {
    const body = Buffer.from([255, 0, 128, 10]);
    const headers = { "content-type": "application/x-own", location: "/orders/7" };
    const acts: Act[] = ["drop", { status: 201, headers, body }];
    const came = await fetched(acts, async (client, url) => {
      const init = { method: "POST", body: "x", intent: ["order", 7] };
      for (let call = 0; call < 3; call++) {
        const response = await client.fetch(url, init);
        assert.deepEqual([response.status, response.headers.get("location")], [201, "/orders/7"]);
        assert.deepEqual(Buffer.from(await response.arrayBuffer()), body);
      }
      await assert.rejects(client.fetch(url, { ...init, body: "y" }), ConflictError);
      await client.settle(["order", 7]);
      assert.equal((await client.fetch(url, { ...init, body: "y" })).status, 200);
    });
    assert.equal(came.length, 3);
    assert.equal(came[0]![1], came[1]![1]);
    assert.notEqual(came[1]![1], came[2]![1]);
  });

  test("with an intent, an error is handed on and not remembered; a refusal gives the key up", async () => {
    const acts: Act[] = [json(400, {}), { status: 500 }, { status: 204 }];
    const came = await fetched(acts, async (client, url) => {
      const fetch = () => client.fetch(url, { method: "POST", body: "x", intent: "order" });
      assert.equal((await fetch()).status, 400);
      assert.equal((await fetch()).status, 500);
      for (const status of [204, 204]) assert.equal((await fetch()).status, status);
    });
    const keys = came.map(([, key]) => key);
    assert.equal(keys.length, 3);
    assert.notEqual(keys[0], keys[1]);
    assert.equal(keys[1], keys[2], "what a 500 did is not known");
  });

  test("with an intent, a refusal after a lost answer keeps the key", async () => {
    const came = await fetched(["drop", { status: 401 }], async (client, url) => {
      const fetch = () => client.fetch(url, { method: "POST", body: "x", intent: "order" });
      assert.equal((await fetch()).status, 401);
      assert.equal((await fetch()).status, 200);
    });
    assert.equal(came.length, 3);
    assert.equal(new Set(came.map(([, key]) => key)).size, 1);
  });

  test("with an intent, a network error is the platform's, and the key is kept", async () => {
    const came = await fetched(["drop", "drop", "drop"], async (client, url) => {
      const fetch = () => client.fetch(url, { method: "POST", body: "x", intent: "order" });
      await assert.rejects(fetch(), TypeError);
      assert.equal((await fetch()).status, 200);
    });
    assert.equal(came.length, 4);
    assert.equal(new Set(came.map(([, key]) => key)).size, 1);
  });

  test("with an intent, a key that the server has forgotten by now is not sent again", async () => {
    const came = await fetched(["drop"], async (client, url) => {
      const retry = { attempts: 1, window: "1h" } as const;
      const fetch = () => client.fetch(url, { method: "POST", intent: "order", retry });
      await assert.rejects(fetch(), TypeError);
      await clock.advance(HOUR);
      await assert.rejects(fetch(), UnknownOutcomeError);
    });
    assert.equal(came.length, 1);
  });

  test("sends a stream, once", async () => {
    const came = await fetched([{ status: 503 }], async (client, url) => {
      const body = new Blob(["once"]).stream();
      const init = { method: "POST", body, duplex: "half" } as RequestInit;
      assert.equal((await client.fetch(url, init)).status, 503);
    });
    assert.equal(came.length, 1);
  });

  test("with an intent, an answer that is too long is given, and asked for again with the same key", async () => {
    const long: Act = { status: 200, body: "x".repeat(1024 * 1024 + 1) };
    const came = await fetched([long, long], async (client, url) => {
      for (let call = 0; call < 2; call++) {
        const response = await client.fetch(url, { method: "POST", intent: "order" });
        assert.equal((await response.text()).length, 1024 * 1024 + 1);
      }
    });
    assert.equal(came.length, 2);
    assert.equal(came[0]![1], came[1]![1]);
  });

  test("a connection that breaks inside a remembered answer is an error, and the key is kept", async () => {
    const came = await fetched(["cut"], async (client, url) => {
      const fetch = () => client.fetch(url, { method: "POST", intent: "order" });
      await assert.rejects(fetch(), TypeError);
      assert.equal((await fetch()).status, 200);
    });
    assert.equal(came.length, 2);
    assert.equal(came[0]![1], came[1]![1]);
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
