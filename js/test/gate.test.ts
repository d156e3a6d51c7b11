/** What every middleware shares, without a framework. */
import assert from "node:assert/strict";
import { suite, test } from "node:test";
import { latin1 } from "../src/core/bytes.js";
import { Gate, Pieces, UNAUTHENTICATED, type GateOptions, type Outcome, type Owner } from "../src/gate/index.js";
import { createIdempotency } from "../src/idempotency.js";
import { memoryStore } from "../src/stores/memory.js";
import { codeOf, created, fromLatin1, isReplay, rig, type Asked, type Seen } from "./gate-rig.js";

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
