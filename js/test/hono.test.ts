/** `idemp/hono`. */
import "../src/core/server.js";
import assert from "node:assert/strict";
import { suite, test } from "node:test";
import type { HttpBindings } from "@hono/node-server";
import { RESPONSE_ALREADY_SENT } from "@hono/node-server/utils/response";
import { Hono, type Context } from "hono";
import { bodyLimit } from "hono/body-limit";
import { compress } from "hono/compress";
import { cors } from "hono/cors";
import { HTTPException } from "hono/http-exception";
import { stream, streamSSE } from "hono/streaming";
import { validator } from "hono/validator";
import { idempotent, UNAUTHENTICATED, type HonoOptions } from "../src/hono/index.js";
import { createIdempotency, type IdempotencyOptions } from "../src/idempotency.js";
import { memoryStore } from "../src/stores/memory.js";
import { begun, listening, posted } from "./http-server.js";
import { executesNothingLate, stall } from "./stall.js";
import { switchedStore } from "./switched-store.js";

const KEY = { "idempotency-key": "k" };
const JSON_KEY = { ...KEY, "content-type": "application/json" };

type Handler = (c: Context, run: number) => Response | Promise<Response>;

/** A route behind the middleware; `set` puts in place what stands outside of it. */
function rig(handler: Handler = counted, options: object = {}, set: (app: Hono) => void = () => undefined, more: Partial<IdempotencyOptions> = {}) {
  const store = switchedStore();
  const errors: unknown[] = [];
  const own = { scope: (c: Context) => [c.req.header("x-user") ?? "ada"], onError: (error: unknown) => errors.push(error) };
  const once = idempotent(createIdempotency({ store, ...more }), { ...own, ...options } as HonoOptions);
  const app = new Hono();
  let runs = 0;
  set(app);
  app.post("/tasks", once, (c) => handler(c, ++runs));
  const post = async (init: RequestInit = {}, ...rest: unknown[]): Promise<Response> =>
    app.request("/tasks?b=2&a=1", { method: "POST", headers: JSON_KEY, body: "{}", ...init }, ...(rest as []));
  return { app, store, errors, once, post, runs: () => runs };
}

function counted(c: Context, run: number): Response {
  return c.json({ run }, 201, { location: `/tasks/${run}` });
}

const isReplay = ({ headers }: Response) => headers.get("idempotent-replayed") === "true";
const codeOf = async (response: Response) => ((await response.json()) as { code: string }).code;

suite("a route of Hono", () => {
  for (const [name, make] of Object.entries<Handler>({
    "JSON": counted,
    "a 204": (c) => c.body(null, 204),
    "an empty body": (c) => c.body(""),
    "`false`": (c) => c.json(false),
    "bytes": (c) => c.body(Uint8Array.of(0xff, 0xfe, 0, 0x80), 200, { "content-type": "application/octet-stream" }),
    "a redirect": (c) => c.redirect("/tasks/1", 303),
    "a stream that ends": (c) => stream(c, async (to) => void (await to.write("one "), await to.write("two"))),
    "a response of its own": () => new Response("own", { headers: { link: "</a>, </b>" } }),
  })) {
    test(`answers a retry with ${name} as it was`, async () => {
      const { post, runs } = rig(make);
      const [first, retry] = [await post(), await post()];
      assert.ok(isReplay(retry) && !isReplay(first));
      assert.equal(retry.status, first.status);
      for (const name of ["content-type", "location", "link"]) assert.equal(retry.headers.get(name), first.headers.get(name));
      assert.deepEqual(await retry.arrayBuffer(), await first.arrayBuffer());
      assert.equal(runs(), 1);
    });
  }

  test("has the execution where the request came with a key", async () => {
    const { post } = rig((c) => c.text(`${c.get("idempotency")?.attempt} ${c.var.idempotency?.fence !== undefined}`));
    assert.equal(await (await post()).text(), "1 true");
    assert.equal(await (await post({ headers: {} })).text(), "undefined false");
  });

  test("may require a key, refuses nobody and another payload", async () => {
    const { post } = rig(counted, { required: true, scope: (c: Context) => c.req.header("x-user") ?? UNAUTHENTICATED });
    assert.equal(await codeOf(await post({ headers: {} })), "IDEMPOTENCY_KEY_MISSING");
    assert.equal((await post()).status, 401);
    const headers = { ...JSON_KEY, "x-user": "ada" };
    await post({ headers });
    const conflict = await post({ headers, body: "[1]" });
    assert.deepEqual([conflict.status, await codeOf(conflict)], [409, "IDEMPOTENCY_KEY_CONFLICT"]);
  });

  test("may be one of many behind it", async () => {
    const app = new Hono();
    let runs = 0;
    const tasks = new Hono().post("/", (c) => c.text(`run ${++runs}`)).get("/", (c) => c.text("all"));
    app.use("/api/*", idempotent(createIdempotency({ store: memoryStore() }), { unscoped: true }));
    app.route("/api/tasks", tasks);
    const ask = (method: string) => app.request("/api/tasks", { method, headers: KEY });
    assert.equal(await (await ask("POST")).text(), "run 1");
    assert.ok(isReplay(await ask("POST")));
    assert.equal(await (await ask("GET")).text(), "all");
    assert.equal((await app.request("/api/none", { method: "POST", headers: { "idempotency-key": "none" } })).status, 404);
  });

  test("that answers nothing is told so by Hono, and its key is released", async () => {
    const { post, app } = rig((_, run) => (run === 1 ? (undefined as never) : new Response("x")));
    let told: unknown;
    app.onError((error, c) => ((told = error), c.text("failed", 500)));
    assert.equal((await post()).status, 500);
    assert.match(String(told), /not finalized/);
    assert.ok(!isReplay(await post()));
  });
});

suite("an error", () => {
  test("is seen as the response that onError makes of it", async () => {
    const thrown = [new Error("no"), new HTTPException(422, { message: "mend it" }), new HTTPException(503)];
    const { post, app } = rig((c, run) => {
      const error = thrown[run - 1];
      if (error) throw error;
      return c.text("done");
    });
    app.onError((error, c) => (error instanceof HTTPException ? error.getResponse() : c.text("failed", 500)));
    assert.equal((await post({ body: "[0]" })).status, 500);
    assert.equal(await codeOf(await post({ body: "[1]" })), "IDEMPOTENCY_KEY_CONFLICT", "it is released for the same payload");
    assert.equal((await post({ body: "[0]" })).status, 422);
    assert.equal(await codeOf(await post({ body: "[1]" })), "IDEMPOTENCY_KEY_CONFLICT", "an earlier attempt may have executed");
    const { post: mend, app: own } = rig((c, run) => {
      if (run === 1) throw thrown[1];
      if (run === 2) throw thrown[0];
      return c.text("done");
    });
    own.onError((error, c) => (error instanceof HTTPException ? error.getResponse() : c.json({ mine: true }, 402)));
    assert.equal((await mend({ body: "[1]" })).status, 422);
    assert.deepEqual(await (await mend({ body: "[2]" })).json(), { mine: true });
    assert.equal(await (await mend({ body: "[3]" })).text(), "done");
    assert.ok(isReplay(await mend({ body: "[3]" })));
  });

  test("that is no Error is thrown on, and releases", async () => {
    const { post } = rig((c, run) => {
      if (run === 1) throw "a text"; // eslint-disable-line
      return c.text("done");
    });
    await assert.rejects(post(), (thrown) => thrown === "a text");
    assert.equal(await (await post()).text(), "done");
  });

  test("after the answer has begun: it reaches its client as it breaks, and nothing runs again", async () => {
    const { post, runs } = rig((c) => stream(c, async (to) => {
      await to.write("half");
      throw new Error("the source is gone");
    }, async (_, to) => void (await to.write(" and no more"))));
    const first = await post();
    assert.equal(await first.text(), "half and no more");
    const broken = rig(() => new Response(new ReadableStream({
      pull(controller) {
        controller.error(new Error("the source is gone"));
      },
    })));
    await assert.rejects((await broken.post()).text(), /the source is gone/);
    assert.equal(await codeOf(await broken.post()), "IDEMPOTENCY_OUTCOME_UNKNOWN");
    assert.deepEqual([runs(), broken.runs()], [1, 1]);
  });
});

suite("the body of a request", () => {
  test("is there for every way to read it", async () => {
    const ways: Record<string, (c: Context) => Promise<unknown>> = {
      json: (c) => c.req.json(),
      text: async (c) => JSON.parse(await c.req.text()),
      arrayBuffer: async (c) => JSON.parse(Buffer.from(await c.req.arrayBuffer()).toString()),
      blob: async (c) => JSON.parse(await (await c.req.blob()).text()),
      raw: (c) => c.req.raw.json(),
      twice: async (c) => ((await c.req.text()), c.req.json()),
    };
    for (const [way, read] of Object.entries(ways)) {
      const { post } = rig(async (c) => c.json(await read(c)));
      assert.deepEqual(await (await post({ body: '{"a":[1]}' })).json(), { a: [1] }, way);
    }
    const { post } = rig(async (c) => c.json(await c.req.parseBody()));
    const form = { headers: { ...KEY, "content-type": "application/x-www-form-urlencoded" }, body: "a=1&b=2" };
    assert.deepEqual(await (await post(form)).json(), { a: "1", b: "2" });
    assert.ok(isReplay(await post(form)));
  });

  test("is validated behind the middleware, and a request that is refused is mended under its key", async () => {
    const once = idempotent(createIdempotency({ store: memoryStore() }), { unscoped: true });
    const valid = validator("json", (value: { amount?: number }, c) => (value.amount ? { amount: value.amount } : c.text("no amount", 400)));
    const app = new Hono().post("/tasks", once, valid, (c) => c.json(c.req.valid("json")));
    const ask = async (body: string) => app.request("/tasks", { method: "POST", headers: JSON_KEY, body });
    assert.equal((await ask("{}")).status, 400);
    assert.deepEqual(await (await ask('{"amount":5}')).json(), { amount: 5 });
    assert.ok(isReplay(await ask('{"amount":5}')));
  });

  test("that was read before counts by its bytes, where Hono kept them, and is refused loudly where not", async () => {
    const kept = rig(async (c) => c.json(await c.req.json()), {}, (app) => app.use(async (c, next) => (await c.req.arrayBuffer(), next())));
    assert.deepEqual(await (await kept.post({ body: "[1.0]" })).json(), [1]);
    assert.ok(isReplay(await kept.post({ body: "[1]" })));
    assert.equal(await codeOf(await kept.post({ body: "[2]" })), "IDEMPOTENCY_KEY_CONFLICT");
    const over = rig(counted, { bodyLimit: 2 }, (app) => app.use(async (c, next) => (await c.req.blob(), next())));
    assert.equal((await over.post({ body: "[1]" })).status, 413);
    for (const read of [(c: Context) => c.req.json(), (c: Context) => c.req.text(), (c: Context) => c.req.raw.text()]) {
      const lost = rig(counted, {}, (app) => app.use(async (c, next) => (await read(c), next())));
      const refused = await lost.post();
      assert.deepEqual([refused.status, await codeOf(refused), lost.runs(), lost.store.swaps], [500, "IDEMPOTENCY_BODY_CONSUMED", 0, 0]);
      assert.match(String(lost.errors), /before what reads it/);
    }
  });

  test("has the limit of an outer layer, and its own", async () => {
    const outer = rig(counted, {}, (app) => app.use(bodyLimit({ maxSize: 4 })));
    assert.equal((await outer.post({ body: "12345" })).status, 413);
    assert.equal((await outer.post({ body: "1234" })).status, 201);
    assert.equal(await codeOf(await rig(counted, { bodyLimit: 4 }).post({ body: "12345" })), "IDEMPOTENCY_BODY_TOO_LARGE");
  });

  test("that differs only in bytes that are no UTF-8 is another payload", async () => {
    const { post } = rig();
    await post({ body: Uint8Array.of(0x22, 0xff, 0x22) });
    assert.equal(await codeOf(await post({ body: Uint8Array.of(0x22, 0xfe, 0x22) })), "IDEMPOTENCY_KEY_CONFLICT");
  });
});

test("a route within another one is told so, where both are for the same caller", async () => {
  const store = switchedStore();
  const idem = createIdempotency({ store });
  const errors: unknown[] = [];
  const once = (scope: string) => idempotent(idem, { scope: () => scope, onError: (error) => errors.push(error) });
  const routed = (...scopes: string[]) => {
    const app = new Hono();
    const [outer, inner] = scopes.map(once);
    app.use(outer!);
    app.post("/tasks", inner!, (c) => counted(c, 1));
    return app.request("/tasks", { method: "POST", headers: JSON_KEY, body: "{}" });
  };
  const refused = await routed("ada", "ada");
  assert.deepEqual([refused.status, await codeOf(refused)], [500, "IDEMPOTENCY_NESTED"]);
  assert.deepEqual(errors.map((error) => (error as { code: string }).code), ["NESTED"]);
  assert.equal((await routed("ada", "inner")).status, 201);
});

suite("what stands outside", () => {
  const outside = (app: Hono) => {
    app.use(cors({ origin: "https://a.example", credentials: true }));
    app.use(async (c, next) => {
      c.header("x-prepared", "1");
      c.header("cache-control", "private");
      c.header("set-cookie", "a=1", { append: true });
      c.header("set-cookie", "b=2", { append: true });
      await next();
      c.header("x-after", "1");
    });
  };

  test("writes its headers on a replay, a refusal and the answer itself, and none twice", async () => {
    const { post } = rig(counted, {}, outside);
    const headers = { ...JSON_KEY, origin: "https://a.example" };
    const first = await post({ headers });
    const retry = await post({ headers });
    const conflict = await post({ headers, body: "[1]" });
    const invalid = await post({ headers: { ...headers, "idempotency-key": "a, b" } });
    assert.deepEqual([first.status, retry.status, conflict.status, invalid.status], [201, 201, 409, 400]);
    for (const answer of [first, retry, conflict, invalid]) {
      assert.equal(answer.headers.get("access-control-allow-origin"), "https://a.example");
      assert.deepEqual([answer.headers.get("x-prepared"), answer.headers.get("x-after")], ["1", "1"]);
      assert.deepEqual(answer.headers.getSetCookie(), ["a=1", "b=2"]);
    }
    assert.deepEqual([first, retry, conflict].map(({ headers }) => headers.get("cache-control")), ["private", "no-store", "no-store"]);
    assert.deepEqual([retry.headers.get("content-type"), conflict.headers.get("content-type")], ["application/json", "application/json"]);
    assert.deepEqual(await retry.json(), await first.json());
  });

  test("stays on the answer of the winner, which has nothing of the late owner's", async () => {
    let now = 1_700_000_000_000;
    const one = rig(async (c, run): Promise<Response> => {
      if (run > 1) return counted(c, run);
      now += 60_000;
      await one.post();
      return c.body("late", 200, { etag: '"late"', "content-language": "xx", location: "/late" });
    }, {}, outside, { store: memoryStore({ now: () => now }) });
    const late = await one.post({ headers: { ...JSON_KEY, origin: "https://a.example" } });
    assert.ok(isReplay(late));
    assert.deepEqual(await late.json(), { run: 2 });
    assert.deepEqual(["location", "etag", "content-language", "access-control-allow-origin", "x-prepared"].map((name) => late.headers.get(name)), [
      "/tasks/2", null, null, "https://a.example", "1",
    ]);
  });

  test("compresses a replay like any answer", async () => {
    const { app } = rig((c) => c.text("x".repeat(2000)), {}, (app) => app.use(compress()));
    const ask = async (encoding: string) =>
      app.request("/tasks", { method: "POST", headers: { ...KEY, "accept-encoding": encoding }, body: "{}" });
    assert.equal((await ask("gzip")).headers.get("content-encoding"), "gzip");
    const plain = await ask("identity");
    assert.ok(isReplay(plain));
    assert.deepEqual([plain.headers.get("content-encoding"), (await plain.text()).length], [null, 2000]);
    assert.equal((await ask("gzip")).headers.get("content-encoding"), "gzip");
  });
});

test("behind a route that keeps the thread for longer than a lease, nothing is executed late", async () => {
  const { post, runs } = rig((c, run) => (stall(120), counted(c, run)), {}, undefined, { lease: "90ms" });
  await executesNothingLate(post, runs);
});

suite("a store that fails", () => {
  test("on begin: 503, the handler not run, and nothing hangs", async () => {
    for (const fate of ["lost", "held"] as const) {
      const { post, store, runs } = rig(counted, { storeTimeout: "40ms" });
      store.always = fate;
      const refused = await post();
      assert.deepEqual([refused.status, await codeOf(refused), runs()], [503, "IDEMPOTENCY_STORE_UNAVAILABLE", 0]);
    }
    const open = rig(async (c) => c.json(await c.req.json()), { failOpen: true });
    open.store.always = "lost";
    assert.deepEqual(await (await open.post({ body: "[7]" })).json(), [7]);
  });

  test("on finish: the client has its answer, and nothing runs again", async () => {
    const { post, store, once, runs } = rig((c, run) => {
      store.always = "lost";
      return counted(c, run);
    });
    assert.deepEqual(await (await post()).json(), { run: 1 });
    assert.equal((await post()).status, 503);
    store.always = "done";
    await once.idle();
    assert.ok(isReplay(await post()));
    assert.equal(runs(), 1);
  });
});

test("an event stream is passed on at once", async () => {
  let more!: () => void;
  const { post, runs } = rig((c) => streamSSE(c, async (to) => {
    await to.writeSSE({ data: "1" });
    await new Promise<void>((resolve) => (more = resolve));
  }), { streamAfter: "1h" });
  const reader = (await post()).body!.getReader();
  assert.equal(Buffer.from((await reader.read()).value!).toString(), "data: 1\n\n");
  assert.equal(await codeOf(await post()), "IDEMPOTENCY_OUTCOME_UNKNOWN");
  assert.equal(runs(), 1);
  more();
  assert.equal((await reader.read()).done, true);
});

test("a worker is handed the whole of a keyed request, and what goes on after it", async () => {
  const handed: Promise<unknown>[] = [];
  const ctx = { waitUntil: (work: Promise<unknown>) => handed.push(work), passThroughOnException: () => undefined };
  const { post, store } = rig();
  store.next = ["done", "lost", "lost"];
  await post({}, {}, ctx);
  assert.equal(handed.length, 2);
  await Promise.all(handed);
  assert.ok(isReplay(await post({}, {}, ctx)));
});

suite("over real HTTP", () => {
  test("a retry gets the same head and the same bytes, and a cookie is sent once", async (t) => {
    const body = Uint8Array.from([0xff, 0, 0x0a, 0xfe]);
    const { app, runs } = rig((c) => {
      c.header("set-cookie", "a=1", { append: true });
      c.header("set-cookie", "b=2", { append: true });
      return c.body(body, 201, { "content-type": "image/x", etag: '"1"' });
    });
    const server = await listening(t, app.fetch);
    const [first, retry] = [await posted(server, KEY), await posted(server, KEY)];
    assert.deepEqual([first.body, retry.body], [Buffer.from(body), Buffer.from(body)]);
    for (const name of ["content-type", "etag", "content-length"]) assert.equal(retry.headers[name], first.headers[name], name);
    assert.deepEqual([first.headers["set-cookie"], retry.headers["set-cookie"]], [["a=1", "b=2"], undefined]);
    assert.deepEqual([retry.status, retry.headers["idempotent-replayed"], runs()], [201, "true", 1]);
  });

  test("an answer that was written past Hono reaches its client, and its retry is told that it is unknown", async (t) => {
    const { app, runs } = rig((c) => {
      const { outgoing } = c.env as HttpBindings;
      outgoing.writeHead(201, { location: "/tasks/1" });
      outgoing.end("made");
      return RESPONSE_ALREADY_SENT;
    });
    const server = await listening(t, app.fetch);
    const [first, retry] = [await posted(server, KEY), await posted(server, KEY)];
    assert.deepEqual([first.status, String(first.body)], [201, "made"]);
    assert.match(String(retry.body), /IDEMPOTENCY_OUTCOME_UNKNOWN/);
    assert.equal(runs(), 1);
  });

  test("and one that was written past it as a failure is tried again", async (t) => {
    const { app, runs } = rig((c) => {
      (c.env as HttpBindings).outgoing.writeHead(503).end();
      return RESPONSE_ALREADY_SENT;
    });
    const server = await listening(t, app.fetch);
    assert.deepEqual([(await posted(server, KEY)).status, (await posted(server, KEY)).status, runs()], [503, 503, 2]);
  });

  test("a client that goes away stops nothing, and its retry gets the answer", async (t) => {
    let entered!: () => void, go!: () => void;
    const [begins, goes] = [new Promise<void>((resolve) => (entered = resolve)), new Promise<void>((resolve) => (go = resolve))];
    let aborted: boolean | undefined;
    let missed!: () => void;
    const gone = new Promise<void>((resolve) => (missed = resolve));
    const { once, runs, app } = rig(async (c) => {
      entered();
      await goes;
      aborted = c.req.raw.signal.aborted;
      return c.text("done");
    }, {}, (app) => app.use((c, next) => (c.req.raw.signal.addEventListener("abort", missed), next())));
    const server = await listening(t, app.fetch);
    const client = begun(server, KEY);
    await begins;
    await client.leave();
    await gone;
    assert.equal(JSON.parse((await posted(server, KEY)).body.toString()).code, "IDEMPOTENCY_IN_PROGRESS");
    go();
    await once.idle();
    const retry = await posted(server, KEY);
    assert.deepEqual([retry.body.toString(), retry.headers["idempotent-replayed"]], ["done", "true"]);
    assert.deepEqual([runs(), aborted], [1, false]);
  });
});
