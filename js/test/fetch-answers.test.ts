import assert from "node:assert/strict";
import { suite, test } from "node:test";
import { inspect } from "node:util";

import {
  ConflictError,
  NetworkError,
  OnceError,
  RefusedError,
  UnknownOutcomeError,
  type Client,
  type ClientOptions,
} from "../src/fetch/index.js";
import type { ManualClock } from "./manual-clock.js";
import { json, scriptedServer, type Act } from "./scripted-server.js";
import { clock, HOUR, PAYLOAD, tab } from "./tab.js";

/** The clock, on which a wait before a request is sent again is over at once. */
const quick = (): ManualClock => ({
  ...clock,
  sleep: (span, signal) => (span < 10_000 ? Promise.resolve() : clock.sleep(span, signal)),
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

  test("a key is not sent again by a clock that was set back behind its making, until that is right again", async () => {
    const first = await ordered(["drop"], { retry: { attempts: 1 } });
    await clock.advance(-2 * HOUR);
    const second = await ordered([]);
    assert.ok(second.error instanceof UnknownOutcomeError);
    assert.deepEqual([second.error.code, second.came.length], ["WINDOW_OVER", 0]);
    await clock.advance(3 * HOUR);
    const third = await ordered([]);
    assert.deepEqual([third.data, third.key], ["ok", first.key]);
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

  test("with an intent, a key is not sent again by a clock that was set back behind its making", async () => {
    const came = await fetched(["drop"], async (client, url) => {
      const fetch = () => client.fetch(url, { method: "POST", intent: "order", retry: { attempts: 1 } });
      await assert.rejects(fetch(), TypeError);
      await clock.advance(-HOUR);
      await assert.rejects(fetch(), { code: "WINDOW_OVER" });
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
