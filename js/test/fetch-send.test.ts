import assert from "node:assert/strict";
import { suite, test } from "node:test";

import { rulesOf, type RetryOptions } from "../src/fetch/retry.js";
import { KEY_HEADER, keyHeader, send, type Attempt } from "../src/fetch/send.js";
import { fakeClock } from "./fake-clock.js";
import { json, scriptedServer, type Act } from "./scripted-server.js";

/** Sends one request to a server that plays the acts. */
async function sent(acts: Act[], init: RequestInit & { retry?: RetryOptions } = {}) {
  const server = await scriptedServer(...acts);
  const clock = fakeClock();
  const attempts: Attempt[] = [];
  const { retry, ...rest } = init;
  const request = new Request(server.url, rest);
  const how = { rules: rulesOf(retry), fetch, clock, onAttempt: (one: Attempt) => attempts.push(one) };
  let status, text, error: unknown;
  try {
    const { response } = await send(request, "duplex" in rest, how);
    status = response.status;
    text = await response.text();
  } catch (thrown) {
    error = thrown;
  }
  await server.close();
  return { status, text, error, came: server.came, slept: clock.slept, attempts };
}

const POST = { method: "POST", headers: { [KEY_HEADER]: '"k"' }, body: '{"amount":5}' };

suite("sending with a key", () => {
  for (const [why, act] of Object.entries<Act>({
    "a broken connection": "drop",
    "408": { status: 408 },
    "425": { status: 425 },
    "429": { status: 429 },
    "502": { status: 502 },
    "503": { status: 503 },
    "504": { status: 504 },
    "409 in progress": json(409, { code: "IDEMPOTENCY_IN_PROGRESS" }),
    "409 in progress, of a route": json(409, { code: "IN_PROGRESS" }),
    "409 of any kind, with a Retry-After": { status: 409, headers: { "retry-after": "1" } },
    "409 in progress, as a problem": {
      status: 409,
      headers: { "content-type": "application/problem+json" },
      body: '{"title":"A request is outstanding","code":"IDEMPOTENCY_IN_PROGRESS"}',
    },
  })) {
    test(`${why}: the same bytes go out again, with the same key`, async () => {
      const { status, text, came } = await sent([act, act], POST);
      assert.deepEqual([status, text], [200, "ok"]);
      assert.equal(came.length, 3);
      for (const { headers, body } of came) {
        assert.equal(headers["idempotency-key"], '"k"');
        assert.equal(headers["content-length"], "12");
        assert.equal(body.toString(), POST.body);
      }
    });
  }

  test("409 whose body breaks off: it is no refusal, and goes out again", async () => {
    const acts: Act[] = ["cut-409", { status: 200, body: "ok" }];
    const { status, came, attempts } = await sent(acts, POST);
    assert.equal(status, 200);
    assert.equal(came.length, 2);
    assert.equal(attempts[0]!.verdict, "unanswered");
  });

  for (const [why, act] of Object.entries<Act>({
    "400": json(400, { code: "IDEMPOTENCY_KEY_INVALID" }),
    "401": { status: 401 },
    "404": { status: 404 },
    "409 of another kind": json(409, { code: "TASK_ALREADY_ENDED" }),
    "409 that is not JSON": { status: 409, body: "IDEMPOTENCY_IN_PROGRESS" },
    "409, another payload": json(409, { code: "IDEMPOTENCY_KEY_CONFLICT" }),
    "409, outcome unknown": json(409, { code: "IDEMPOTENCY_OUTCOME_UNKNOWN" }),
    "412, expired": json(412, { code: "IDEMPOTENCY_KEY_EXPIRED" }),
    "413": { status: 413 },
    "422": json(422, { code: "IDEMPOTENCY_KEY_CONFLICT" }),
    "500": { status: 500 },
    "501": { status: 501 },
  })) {
    test(`${why}: is not sent again, and the answer is there to be read`, async () => {
      const { status, came, text } = await sent([act], POST);
      assert.equal(status, (act as { status: number }).status);
      assert.equal(text, String((act as { body?: string }).body ?? ""));
      assert.equal(came.length, 1);
    });
  }

  test("the last answer is given, however bad", async () => {
    const busy: Act = { status: 503, body: "later" };
    const { status, text, came, slept } = await sent([busy, busy, busy], { ...POST, retry: { attempts: 3 } });
    assert.deepEqual([status, text, came.length], [503, "later", 3]);
    assert.deepEqual(slept, [250, 500], "half of 500 ms, then of 1 s");
  });

  test("the platform's error is given where no answer came at last", async () => {
    const outcome = await sent(["drop", "drop"], { ...POST, retry: { attempts: 2 } });
    assert.ok(outcome.error instanceof TypeError);
    assert.equal(outcome.came.length, 2);
    assert.deepEqual(
      outcome.attempts.map(({ attempt, verdict, again }) => [attempt, verdict, again]),
      [
        [1, undefined, 250],
        [2, undefined, undefined],
      ],
    );
  });

  test("Retry-After is waited for, as a number and as a date", async () => {
    const later = new Date(Date.now() + 9000).toUTCString();
    const now = new Date(Date.parse(later) - 9000).toUTCString();
    const { slept } = await sent(
      [
        { status: 429, headers: { "retry-after": "3" } },
        { status: 503, headers: { "retry-after": later, date: now } },
      ],
      POST,
    );
    assert.deepEqual(slept, [3250, 9500]);
  });

  test("a server that is out of patience's reach is believed at once", async () => {
    const { status, came } = await sent([{ status: 503, headers: { "retry-after": "3600" } }], POST);
    assert.deepEqual([status, came.length], [503, 1]);
  });

  test("a body of many kinds goes out byte for byte the same", async () => {
    const form = new FormData();
    form.set("file", new Blob(["\0\xff"]), "a.bin");
    form.set("name", "é");
    for (const body of [form, new Uint8Array([255, 0, 128]), new Blob(["blob"]), new URLSearchParams("a=1&b=%20")]) {
      const { came } = await sent(["drop", { status: 502 }], { ...POST, body });
      assert.equal(came.length, 3);
      assert.ok(came[0]!.body.length > 0);
      for (const one of came) {
        assert.deepEqual(one.body, came[0]!.body);
        assert.equal(one.headers["content-type"], came[0]!.headers["content-type"]);
      }
    }
  });

  test("a stream is sent once, since it cannot be sent again", async () => {
    const body = new Blob(["once"]).stream();
    const { came, status } = await sent([{ status: 503 }], { ...POST, body, duplex: "half" } as RequestInit);
    assert.deepEqual([status, came.length], [503, 1]);
  });
});

suite("sending without a key", () => {
  for (const method of ["GET", "HEAD", "OPTIONS", "PUT", "DELETE"]) {
    test(`${method} is idempotent, and is sent again`, async () => {
      const { status, came } = await sent(["drop", { status: 503 }], { method });
      assert.deepEqual([status, came.length], [200, 3]);
      assert.equal(came[0]!.headers["idempotency-key"], undefined);
    });
  }
  for (const method of ["POST", "PATCH", "MERGE"]) {
    test(`${method} is sent once`, async () => {
      const lost = await sent(["drop"], { method });
      assert.ok(lost.error instanceof TypeError);
      const busy = await sent([{ status: 503 }], { method });
      assert.deepEqual([lost.came.length, busy.came.length, busy.status], [1, 1, 503]);
    });
  }
});

suite("aborting", () => {
  test("ends a request that hangs, with the reason of the signal", async () => {
    const server = await scriptedServer("hang");
    const over = new AbortController();
    const came = server.next();
    const request = new Request(server.url, { ...POST, signal: over.signal });
    const answer = send(request, false, { rules: rulesOf(), fetch, clock: fakeClock() });
    await came;
    const reason = new Error("the person left");
    over.abort(reason);
    await assert.rejects(answer, (error) => error === reason);
    await server.close();
    assert.equal(server.came.length, 1);
  });

  test("ends a wait, and nothing is sent afterwards", async () => {
    const server = await scriptedServer({ status: 503 });
    const over = new AbortController();
    const request = new Request(server.url, { ...POST, signal: over.signal });
    const clock = {
      ...fakeClock(),
      async sleep(_: number, signal: AbortSignal) {
        over.abort();
        assert.equal(signal.aborted, true, "the wait hears of it");
      },
    };
    let sent = 0;
    const counted: typeof fetch = (...what) => (sent++, fetch(...what));
    const answer = send(request, false, { rules: rulesOf(), fetch: counted, clock });
    await assert.rejects(answer, { name: "AbortError" });
    await server.close();
    assert.equal(sent, 1);
  });
});

suite("waiting for the network", () => {
  test("ends when the page comes online, and goes on to wait where the server was there", async () => {
    const page = globalThis as { addEventListener?: unknown; removeEventListener?: unknown };
    const events = new EventTarget();
    page.addEventListener = events.addEventListener.bind(events);
    page.removeEventListener = events.removeEventListener.bind(events);
    const server = await scriptedServer("drop", { status: 503 });
    const woken: boolean[] = [];
    const clock = {
      ...fakeClock(),
      async sleep(_: number, signal: AbortSignal) {
        events.dispatchEvent(new Event("online"));
        woken.push(signal.aborted);
      },
    };
    await send(new Request(server.url, POST), false, { rules: rulesOf(), fetch, clock });
    assert.deepEqual(woken, [true, false]);
    await server.close();
    delete page.addEventListener;
    delete page.removeEventListener;
  });
});

suite("the header", () => {
  test("is a string of RFC 9651", () => {
    assert.equal(keyHeader("abc"), '"abc"');
    assert.equal(keyHeader('a"b\\c'), '"a\\"b\\\\c"');
    for (const key of ["", "é", "a\nb", "x".repeat(256)]) assert.throws(() => keyHeader(key), TypeError);
  });
});
