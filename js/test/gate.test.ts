/** What every middleware shares, without a framework. */
import "../src/core/server.js";
import assert from "node:assert/strict";
import { suite, test, type TestContext } from "node:test";
import { latin1 } from "../src/core/bytes.js";
import { fingerprintBytes, fingerprintOf } from "../src/core/fingerprint.js";
import { Gate, Pieces, UNAUTHENTICATED, type Answer, type GateOptions, type Outcome, type Owner, type Unread } from "../src/gate/index.js";
import type { IdempError } from "../src/errors.js";
import { createIdempotency, type IdempotencyOptions } from "../src/idempotency.js";
import type { PolicyOptions } from "../src/policy.js";
import { memoryStore } from "../src/stores/memory.js";
import { switchedStore } from "./switched-store.js";

const fromLatin1 = (text: string) => Uint8Array.from(text, (letter) => letter.charCodeAt(0));

const SOON = 40;

interface Asked {
  user?: string;
  method?: string;
  keys?: string[];
  id?: string;
  path?: string;
  query?: string;
  contentType?: string;
  body?: string | Unread;
}

/** A gate on a store that can be switched, and what went through it. */
function rig(options: Partial<GateOptions<Asked>> = {}, more: Partial<IdempotencyOptions> = {}) {
  const store = switchedStore();
  const idem = createIdempotency({ store, ...more });
  const errors: unknown[] = [];
  const own = { scope: ({ user = "ada" }: Asked) => [user], onError: (error: unknown) => errors.push(error) };
  const gate = new Gate<Asked>(idem, { ...own, ...options } as GateOptions<Asked>);
  let runs = 0;

  /** The way of a request through a middleware. */
  async function ask(asked: Asked = {}, handler: (owner: Owner, run: number) => Outcome | Promise<Outcome> = created) {
    const { method = "POST", keys = ["k"], id, path = "/tasks", query, contentType = "application/json", body = "{}" } = asked;
    const entered = gate.enter(method, keys, id);
    if (entered.type === "pass") return { through: "pass" as const };
    if (entered.type === "answer") return seen(entered.answer);
    const bytes = async () => (["too-large", "broken", "consumed"].includes(body) ? (body as Unread) : fromLatin1(body));
    const admitted = await gate.admit(entered.entry, asked, { method, path, query, contentType }, bytes);
    if (admitted.type === "open") return { through: "open" as const, run: ++runs };
    if (admitted.type === "answer") return seen(admitted.answer);
    if (admitted.owner.isOver()) {
      await admitted.owner.leave();
      return seen(admitted.owner.comeAgain());
    }
    const outcome = await handler(admitted.owner, ++runs);
    const instead = await admitted.owner.settle(outcome);
    return instead ? seen(instead) : { through: "handler" as const, outcome };
  }

  return { store, idem, gate, errors, ask, runs: () => runs };
}

function created(_: Owner, run: number): Outcome {
  const headers = [["Content-Type", "text/plain"], ["Set-Cookie", "sid=secret"], ["Link", "</a>"], ["link", "</b>"]] as const;
  return { type: "response", status: 201, headers, body: fromLatin1(`run ${run}`) };
}

function seen({ status, headers, body }: Answer) {
  const text = latin1(body);
  const header = (name: string) => headers.filter(([named]) => named === name).map(([, value]) => value);
  const json = text.startsWith("{") ? JSON.parse(text) : undefined;
  return { through: "answer" as const, status, headers, header, text, json, code: json?.code as string | undefined };
}

type Seen = ReturnType<typeof seen>;

/** Keeps the process alive meanwhile: a keep-alive does not. */
async function awake<T>(promise: Promise<T>): Promise<T> {
  const timer = setInterval(() => undefined, 1000);
  return promise.finally(() => clearInterval(timer));
}

const isReplay = (answer: { through: string }) =>
  answer.through === "answer" && (answer as Seen).header("idempotent-replayed")[0] === "true";
const codeOf = (answer: { through: string }) => (answer as Seen).code;

suite("a gate", () => {
  test("a retry gets the stored answer, byte for byte, and nothing runs", async () => {
    const { ask, runs } = rig();
    assert.equal((await ask()).through, "handler");
    const retry = (await ask()) as Seen;
    assert.equal(retry.status, 201);
    assert.deepEqual(retry.headers, [
      ["content-type", "text/plain"],
      ["link", "</a>"],
      ["link", "</b>"],
      ["idempotent-replayed", "true"],
      ["cache-control", "no-store"],
      ["content-length", "5"],
    ]);
    assert.equal(retry.text, "run 1");
    assert.equal(runs(), 1);
  });

  test("other methods, and requests without a key, pass untouched unless one is required", async () => {
    const { ask, store } = rig();
    for (const method of ["GET", "PUT", "DELETE", "HEAD"]) assert.equal((await ask({ method, keys: ["a, b"] })).through, "pass");
    assert.equal((await ask({ keys: [] })).through, "pass");
    assert.equal(codeOf(await rig({ required: true }).ask({ keys: [] })), "IDEMPOTENCY_KEY_MISSING");
    const other = rig({ methods: ["put"] });
    assert.equal((await other.ask({ method: "Put" })).through, "handler");
    assert.equal((await other.ask({ method: "POST" })).through, "pass");
    assert.equal(store.swaps, 0);
  });

  test("a header that names no key is refused before the scope, the body and the store are asked", async () => {
    const { ask, store } = rig({ scope: () => assert.fail("asked"), unscoped: undefined });
    const long = "k".repeat(256);
    for (const keys of [[""], ["  "], ['""'], ["a", "b"], ["a", "a"], ["a, b"], ['"open'], [long], ["k\u00f6y"], ["k\u0100y"], ["two words"]]) {
      const answer = (await ask({ keys })) as Seen;
      assert.deepEqual([answer.status, answer.code], [400, "IDEMPOTENCY_KEY_INVALID"], keys.join());
      assert.equal("idempotencyKey" in answer.json.details, false);
    }
    assert.equal(store.swaps, 0);
    assert.equal(codeOf(await rig({ strict: true }).ask({ keys: ["bare"] })), "IDEMPOTENCY_KEY_INVALID");
    const same = rig();
    await same.ask({ keys: ["k"] });
    assert.ok(isReplay(await same.ask({ keys: ['"k"'] })));
  });

  test("refusals are those of the contract, and name the present request", async () => {
    const { ask } = rig();
    await ask({ keys: ["final-1769660861-a1"], body: '{"amount":5}' });
    const conflict = (await ask({ keys: ["final-1769660861-a1"], body: '{"amount":6}', id: "req_2fc6dfe5" })) as Seen;
    assert.equal(
      conflict.text,
      '{"code":"IDEMPOTENCY_KEY_CONFLICT","message":"Idempotency-Key already used with different payload","requestId":"req_2fc6dfe5","details":{"idempotencyKey":"final-1769660861..."}}',
    );
    assert.deepEqual(conflict.headers, [
      ["content-type", "application/json"],
      ["content-language", "en"],
      ["cache-control", "no-store"],
      ["x-request-id", "req_2fc6dfe5"],
      ["content-length", String(conflict.text.length)],
    ]);
    for (const id of ["two words", "", "\u00ff", "i".repeat(65)]) {
      const made = (await ask({ keys: ["a, b"], id })) as Seen;
      assert.match(made.json.requestId, /^req_[0-9a-f]{8}$/);
      assert.deepEqual(made.header("x-request-id"), [made.json.requestId]);
    }
    const ietf = rig({ profile: "ietf" });
    await ietf.ask();
    const problem = (await ietf.ask({ body: "[]" })) as Seen;
    assert.deepEqual([problem.status, problem.header("content-type")], [422, ["application/problem+json"]]);
  });

  test("without a scope nothing is read, asked or run", async () => {
    const whose: [GateOptions<Asked>["scope"], number, string][] = [
      [() => UNAUTHENTICATED, 401, "UNAUTHENTICATED"],
      [() => undefined, 500, "IDEMPOTENCY_SCOPE_MISSING"],
      [() => [], 500, "IDEMPOTENCY_SCOPE_MISSING"],
      [() => ["a", ""], 500, "IDEMPOTENCY_SCOPE_MISSING"],
      [() => [null as unknown as string], 500, "IDEMPOTENCY_SCOPE_MISSING"],
      [() => 7 as unknown as string, 500, "IDEMPOTENCY_SCOPE_MISSING"],
      [() => Promise.reject(new Error("the session is gone")), 500, "IDEMPOTENCY_SCOPE_MISSING"],
    ];
    for (const profile of ["default", "ietf"] as const) {
      for (const [scope, status, code] of whose) {
        const { ask, store, runs } = rig({ scope, profile } as Partial<GateOptions<Asked>>);
        const answer = (await ask({ body: "too-large", id: "r" })) as Seen;
        assert.deepEqual([answer.status, answer.code, store.swaps, runs()], [status, code, 0, 0]);
        const message = status === 401 ? "This operation requires authentication." : "The server cannot tell whose Idempotency-Key this is.";
        const told =
          profile === "default"
            ? `{"code":"${code}","message":"${message}","requestId":"r","details":{}}`
            : `{"type":"about:blank","title":"${status === 401 ? "Unauthorized" : "Internal Server Error"}","status":${status},"detail":"${message}","code":"${code}","requestId":"r"}`;
        assert.equal(answer.text, told);
      }
    }
  });

  test("two users with one key never cross, and an unscoped gate has one scope for all", async () => {
    const { ask, runs } = rig();
    await ask({ user: "ada" });
    assert.equal((await ask({ user: "bob" })).through, "handler");
    assert.equal(runs(), 2);
    const all = rig({ scope: undefined, unscoped: true });
    await all.ask({ user: "ada" });
    assert.ok(isReplay(await all.ask({ user: "bob" })));
  });

  test("what a function of the application throws is told to the application, and blocks", async () => {
    const failed = new Error("no session");
    const scoped = rig({ scope: () => { throw failed; } });
    await scoped.ask();
    assert.deepEqual(scoped.errors, [failed]);
    for (const fingerprint of [() => { throw failed; }, () => "7" as never, () => undefined as never]) {
      const { ask, errors, store } = rig({ fingerprint });
      const answer = (await ask()) as Seen;
      assert.deepEqual([answer.status, answer.text, errors.length, store.swaps], [500, "", 1, 0]);
    }
    const hook = rig({ scope: () => { throw failed; }, onError: () => { throw failed; } });
    assert.equal(codeOf(await hook.ask()), "IDEMPOTENCY_SCOPE_MISSING");
  });

  test("a body that is too long, broke off or was read by somebody else is not executed", async () => {
    const { ask, store, errors } = rig();
    for (const [body, status, code] of [
      ["too-large", 413, "IDEMPOTENCY_BODY_TOO_LARGE"],
      ["broken", 400, "IDEMPOTENCY_BODY_UNREADABLE"],
      ["consumed", 500, "IDEMPOTENCY_BODY_CONSUMED"],
    ] as const) {
      const answer = (await ask({ body })) as Seen;
      assert.deepEqual([answer.status, answer.code], [status, code]);
    }
    assert.equal(store.swaps, 0);
    assert.match(String(errors), /before what reads it/, "and the application is told what to do");
  });

  test("the method, the path, the query and the content type are payload", async () => {
    const { ask } = rig();
    const first = { path: "/tasks", query: "a=1&b=2" };
    await ask(first);
    assert.ok(isReplay(await ask({ ...first, query: "b=2&a=1" })));
    assert.ok(isReplay(await ask({ ...first, body: " { } " })));
    for (const other of [{ method: "PATCH" }, { path: "/tasks/" }, { query: "a=1&b=3" }, { query: "" }, { contentType: "text/plain" }, { contentType: "application/json\u00a0" }]) {
      assert.equal(codeOf(await ask({ ...first, ...other })), "IDEMPOTENCY_KEY_CONFLICT", JSON.stringify(other));
    }
    const json = rig();
    const twice = async (contentType: string, at: number) => {
      await json.ask({ keys: [`k-${at}`], contentType, body: '{"a":1,"b":2}' });
      return json.ask({ keys: [`k-${at}`], contentType, body: '{"b":2,"a":1.0}' });
    };
    for (const [at, type] of ["application/json", "application/json; charset=utf-8", "application/x+JSON", " application/json ;a"].entries()) {
      assert.ok(isReplay(await twice(type, at)), type);
    }
    for (const [at, type] of ["text/plain", "application/jsonp", "application/json\u00a0"].entries()) {
      assert.equal(codeOf(await twice(type, 10 + at)), "IDEMPOTENCY_KEY_CONFLICT", type);
    }
  });

  test("two bodies that differ only in bytes that are no UTF-8 are two payloads", async () => {
    for (const contentType of ["application/json", "application/octet-stream"]) {
      const { ask } = rig();
      await ask({ contentType, body: '"\xff"' });
      assert.equal(codeOf(await ask({ contentType, body: '"\xfe"' })), "IDEMPOTENCY_KEY_CONFLICT");
      assert.ok(isReplay(await ask({ contentType, body: '"\xff"' })));
    }
  });

  test("options that make no sense are refused with what to do", () => {
    const idem = createIdempotency({ store: memoryStore() });
    const refused = (options: object, code = "OPTIONS_INVALID") =>
      assert.throws(() => new Gate(idem, options as GateOptions<unknown>), { code }, JSON.stringify(options));
    refused({});
    refused({ scope: () => "a", unscoped: true });
    refused({ scope: "ada" });
    for (const methods of [[], ["GET"], ["PO ST"], [""]]) refused({ unscoped: true, methods });
    for (const headers of [["set-cookie"], ["a b"]]) refused({ unscoped: true, headers });
    for (const bodyLimit of [-1, 0.5, NaN, "1mb"]) refused({ unscoped: true, bodyLimit });
    for (const maxOwners of [-1, NaN]) refused({ unscoped: true, maxOwners });
    refused({ unscoped: true, profile: "rfc" });
    refused({ unscoped: true, storeTimeout: 0 }, "SPAN_INVALID");
    refused({ unscoped: true, statuses: { classes: { 9: "fence" } } }, "STATUS_TABLE_INVALID");
    refused({ unscoped: true, policy: { lease: "2d", retention: "1d" } }, "POLICY_INVALID");
  });
});

suite("what becomes of the key", () => {
  const answering = (status: number) => (): Outcome => ({ type: "response", status, headers: [], body: fromLatin1("x") });

  test("a refused request is mended and keeps its key", async () => {
    for (const status of [400, 422, 429]) {
      const { ask } = rig();
      await ask({ body: "[1]" }, answering(status));
      assert.equal((await ask({ body: "[2]" })).through, "handler");
      assert.ok(isReplay(await ask({ body: "[2]" })));
    }
  });

  test("a failed one, and one that threw, is tried again with the same payload only", async () => {
    for (const failed of [answering(500), answering(503), (): Outcome => ({ type: "thrown" }), (): Outcome => ({ type: "unstorable", status: 502 })]) {
      const { ask } = rig();
      await ask({}, failed);
      assert.equal(codeOf(await ask({ body: "[1]" })), "IDEMPOTENCY_KEY_CONFLICT");
      await ask({}, (owner, run) => {
        assert.equal(owner.execution.attempt, 2);
        return created(owner, run);
      });
      assert.ok(isReplay(await ask()));
    }
  });

  test("the table of the route decides", async () => {
    const { ask } = rig({ statuses: { statuses: { 402: "remember", 202: "forget" }, classes: { 5: "fence" }, thrown: "fence" } });
    await ask({ keys: ["a"] }, answering(402));
    assert.ok(isReplay(await ask({ keys: ["a"] })));
    await ask({ keys: ["b"] }, answering(502));
    assert.equal(codeOf(await ask({ keys: ["b"] })), "IDEMPOTENCY_OUTCOME_UNKNOWN");
    await ask({ keys: ["c"] }, answering(202));
    assert.equal((await ask({ keys: ["c"], body: "[1]" })).through, "handler");
    await ask({ keys: ["d"] }, () => ({ type: "thrown" }));
    assert.equal(codeOf(await ask({ keys: ["d"] })), "IDEMPOTENCY_OUTCOME_UNKNOWN");
  });

  test("an answer that cannot be stored is not executed again", async () => {
    const many = Array.from({ length: 65 }, (_, at) => ["link", `</${at}>`] as const);
    const outcomes: Outcome[] = [
      { type: "unstorable", status: 200 },
      { type: "response", status: 200, headers: many, body: fromLatin1("x") },
      { type: "response", status: 200, headers: [], body: new Uint8Array(1001) },
    ];
    for (const outcome of outcomes) {
      const { ask, runs } = rig({ responseLimit: 1000 });
      assert.equal((await ask({}, () => outcome)).through, "handler");
      assert.equal(codeOf(await ask()), "IDEMPOTENCY_OUTCOME_UNKNOWN");
      assert.equal(runs(), 1);
    }
    const { ask } = rig({ responseLimit: 1000 });
    await ask({}, () => ({ type: "response", status: 200, headers: [], body: new Uint8Array(1000) }));
    assert.ok(isReplay(await ask()));
  });

  test("what is held back to be stored is told by its head", async () => {
    await rig().ask({}, (owner, run) => {
      const remembers = (status: number, type?: string) => owner.remembers(status, type);
      assert.deepEqual([remembers(201), remembers(204, "text/plain"), remembers(302)], [true, true, true]);
      assert.deepEqual([remembers(404), remembers(500), remembers(101), remembers(0), remembers(NaN)], [false, false, false, false, false]);
      assert.deepEqual([remembers(200, "text/event-stream"), remembers(200, "Text/Event-Stream; charset=utf-8")], [false, false]);
      return created(owner, run);
    });
  });

  test("a handler that marks its outcome as unknown has the last word", async () => {
    for (const status of [200, 502, 400]) {
      const { ask, runs } = rig();
      const handler = async (owner: Owner) => {
        await owner.execution.markUnknown();
        return answering(status)();
      };
      assert.equal((await ask({}, handler)).through, "handler");
      assert.equal(codeOf(await ask()), "IDEMPOTENCY_OUTCOME_UNKNOWN");
      assert.equal(codeOf(await ask({ body: "[1]" })), "IDEMPOTENCY_KEY_CONFLICT");
      assert.equal(runs(), 1);
    }
  });

  test("and where the store failed it is told again", async () => {
    const { ask, store } = rig();
    await ask({}, async (owner, run) => {
      store.next = ["lost", "lost"];
      await assert.rejects(owner.execution.markUnknown(), { code: "STORE_UNAVAILABLE" });
      return created(owner, run);
    });
    assert.equal(codeOf(await ask()), "IDEMPOTENCY_OUTCOME_UNKNOWN");
  });

  test("what one attempt publishes the next one finds", async () => {
    const { ask } = rig();
    await ask({}, async ({ execution }) => {
      assert.deepEqual([execution.attempt, execution.published], [1, undefined]);
      assert.ok(execution.remaining() > 50_000 && execution.fence > 0n && execution.token.includes("slot"));
      await execution.publish(["charged"]);
      await assert.rejects(execution.publish(undefined), TypeError);
      return { type: "thrown" };
    });
    await ask({}, async (owner, run) => {
      assert.equal(latin1(owner.execution.published!), '["charged"]');
      await owner.execution.publish(Uint8Array.of(255, 0));
      assert.deepEqual(owner.execution.published, Uint8Array.of(255, 0));
      return created(owner, run);
    });
  });

  test("an owner is settled once", async () => {
    const { ask } = rig();
    await ask({}, async (owner, run) => {
      const outcome = created(owner, run);
      await owner.settle(outcome);
      assert.equal(await owner.settle({ type: "thrown" }), undefined);
      return outcome;
    });
    assert.ok(isReplay(await ask()));
  });
});

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

test("pieces of a body are joined, and what their sender keeps is not written to", () => {
  const [first, second] = [Uint8Array.of(1, 2, 3).subarray(0, 2), Uint8Array.of(4)];
  const pieces = new Pieces();
  assert.equal(pieces.bytes().length, 0);
  pieces.push(new Uint8Array());
  pieces.push(first);
  assert.equal(pieces.bytes().buffer, first.buffer, "a single one is not copied");
  pieces.push(second);
  assert.deepEqual([...pieces.bytes()], [1, 2, 4]);
  assert.deepEqual([...new Uint8Array(first.buffer)], [1, 2, 3]);
  for (let at = 0; at < 1000; at++) pieces.push(Uint8Array.of(at & 255));
  assert.equal(pieces.length, 1003);
  assert.deepEqual([...pieces.bytes().subarray(3)], Array.from({ length: 1000 }, (_, at) => at & 255));
});
