/** `idemp/web`: handlers of Request and Response. */
import "../src/core/server.js";
import assert from "node:assert/strict";
import { suite, test } from "node:test";
import { fingerprintOf } from "../src/core/fingerprint.js";
import { createIdempotency, type IdempotencyOptions } from "../src/idempotency.js";
import { executionOf, idempotent, UNAUTHENTICATED, type WebOptions } from "../src/web/index.js";
import { begun, listening, posted } from "./http-server.js";
import { memoryStore } from "../src/stores/memory.js";
import { executesNothingLate, stall } from "./stall.js";
import { switchedStore } from "./switched-store.js";

const KEY = { "idempotency-key": "k" };
const JSON_KEY = { ...KEY, "content-type": "application/json" };

type Handler = (request: Request, ...rest: any[]) => Response | Promise<Response>; // eslint-disable-line

/** A handler behind the middleware, on a store that can be switched, and how often it ran. */
function rig(handler: Handler = counted, options: object = {}, more: Partial<IdempotencyOptions> = {}) {
  const store = switchedStore();
  const idem = createIdempotency({ store, ...more });
  const errors: unknown[] = [];
  const scope = (request: Request) => [request.headers.get("x-user") ?? "ada"];
  const own = { scope, onError: (error: unknown) => errors.push(error) };
  const once = idempotent(idem, { ...own, ...options } as WebOptions);
  let runs = 0;
  const call = once(async (request: Request, ...rest: unknown[]) => {
    runs++;
    return handler(request, runs, ...rest);
  });
  const post = (init: RequestInit = {}, ...rest: unknown[]) =>
    call(new Request("http://localhost/tasks?b=2&a=1", { method: "POST", headers: JSON_KEY, body: "{}", ...init }), ...rest);
  return { store, idem, errors, once, call, post, runs: () => runs };
}

function counted(_: Request, run: number): Response {
  return Response.json({ run }, { status: 201, headers: { location: `/tasks/${run}` } });
}

const isReplay = ({ headers }: Response) => headers.get("idempotent-replayed") === "true";
const codeOf = async (response: Response) => ((await response.json()) as { code: string }).code;
const bytesOf = async (response: Response) => [...new Uint8Array(await response.arrayBuffer())];

function inPieces(texts: readonly string[]): ReadableStream<Uint8Array<ArrayBuffer>> {
  return new ReadableStream({
    start(controller) {
      for (const text of texts) controller.enqueue(Buffer.from(text));
      controller.close();
    },
  });
}

/** A body that a test sends in pieces. */
function stream() {
  let controller!: ReadableStreamDefaultController<Uint8Array>;
  let cancelled: unknown;
  const body = new ReadableStream<Uint8Array>({
    start: (given) => void (controller = given),
    cancel: (reason) => void (cancelled = reason ?? "cancelled"),
  });
  return { body, controller, send: (text: string) => controller.enqueue(Buffer.from(text)), cancelled: () => cancelled };
}

test("a request that cannot be made anew is an error that leaves its key and its place free", async () => {
  class Relative extends Request {
    override get url() {
      return "/tasks";
    }
  }
  const { call, once, runs } = rig(counted, { maxOwners: 1 });
  const init = () => ({ method: "POST", headers: JSON_KEY, body: "{}" });
  await assert.rejects(call(new Relative("http://localhost/", init())), TypeError);
  await once.idle();
  assert.equal(runs(), 0);
});

suite("a handler within another one", () => {
  /** One that is idempotent twice over, the inner one in a scope that can be changed. */
  function nested(options: object) {
    const { idem, errors, once } = rig();
    let scope = ["ada"];
    let runs = 0;
    const inner = idempotent(idem, { scope: () => scope, onError: (error: unknown) => errors.push(error), ...options } as WebOptions);
    const call = once(inner(async (request) => counted(request, ++runs)));
    const post = () => call(new Request("http://localhost/tasks", { method: "POST", headers: JSON_KEY, body: "{}" }));
    return { post, errors, runs: () => runs, rescope: (other: string[]) => (scope = other) };
  }

  test("that is idempotent for the same caller is told so, and not that somebody else is at work", async () => {
    for (const options of [{}, { fingerprint: () => fingerprintOf("another") }]) {
      const { post, errors, runs, rescope } = nested(options);
      const refused = await post();
      assert.deepEqual([refused.status, await codeOf(refused), runs()], [500, "IDEMPOTENCY_NESTED", 0]);
      assert.equal((errors[0] as { code: string }).code, "NESTED");
      assert.match(String(errors[0]), /`scope`/, "and the application is told what to do");
      rescope(["ada", "inner"]);
      assert.equal((await post()).status, 201, "the key is free for when it is mended");
      assert.ok(isReplay(await post()));
      assert.equal(runs(), 1);
    }
  });
});

suite("a response that is not what it says", () => {
  test("is no response of this runtime: its error is told, and its place and its lease are free", async () => {
    const foreign = { status: 201, headers: new Headers(), body: "a body of another library" } as unknown as Response;
    const { post, once, runs } = rig(() => foreign, { maxOwners: 1 });
    await assert.rejects(post(), TypeError);
    await once.idle();
    assert.equal(await codeOf(await post()), "IDEMPOTENCY_OUTCOME_UNKNOWN");
    assert.equal(runs(), 1);
  });

  for (const length of ["10", "2"]) {
    test(`has three bytes, and says ${length}: it is not replayed as a whole one`, async () => {
      const { post, runs } = rig(() => new Response("abc", { headers: { "content-length": length } }));
      assert.equal(await (await post()).text(), "abc");
      assert.equal(await codeOf(await post()), "IDEMPOTENCY_OUTCOME_UNKNOWN");
      assert.equal(runs(), 1);
    });
  }
});

suite("a handler of requests", () => {
  test("runs once, and a retry gets its answer byte for byte", async () => {
    const { post, runs } = rig();
    const [first, retry] = [await post(), await post()];
    assert.deepEqual([first.status, isReplay(first)], [201, false]);
    assert.deepEqual([...retry.headers], [
      ["cache-control", "no-store"],
      ["content-length", "9"],
      ["content-type", "application/json"],
      ["idempotent-replayed", "true"],
      ["location", "/tasks/1"],
    ]);
    assert.equal(retry.status, 201);
    assert.deepEqual(await bytesOf(retry), await bytesOf(first));
    assert.equal(runs(), 1);
  });

  for (const [name, make] of Object.entries<() => Response>({
    "a 204": () => new Response(null, { status: 204 }),
    "a 205": () => new Response(null, { status: 205 }),
    "a 304": () => new Response(null, { status: 304, headers: { etag: '"v1"' } }),
    "no body": () => new Response(null),
    "an empty body": () => new Response(""),
    "a body of `false`": () => Response.json(false),
    "a body of `null`": () => Response.json(null),
    "a binary body": () => new Response(Uint8Array.of(0xff, 0xfe, 0, 0x80), { headers: { "content-type": "application/octet-stream" } }),
    "a body in pieces": () => new Response(inPieces(["one ", "", "two"])),
    "a redirect": () => new Response(null, { status: 303, headers: { location: "/tasks/1" } }),
    "a file": () => new Response(new Blob(["ab"], { type: "text/x" })),
  })) {
    test(`${name} is replayed as it was`, async () => {
      const { post, runs } = rig(make);
      const [first, retry] = [await post(), await post()];
      assert.equal(first.status, make().status);
      assert.ok(isReplay(retry) && !isReplay(first));
      assert.deepEqual([retry.status, retry.headers.get("content-type"), retry.headers.get("location"), retry.headers.get("etag")], [
        first.status,
        ...["content-type", "location", "etag"].map((header) => first.headers.get(header)),
      ]);
      const sent = await bytesOf(make());
      assert.deepEqual(await bytesOf(first), sent);
      assert.deepEqual(await bytesOf(retry), sent);
      const length = [204, 304].includes(first.status) ? null : String(sent.length);
      assert.equal(retry.headers.get("content-length"), length);
      assert.equal(runs(), 1);
    });
  }

  test("cookies of the first answer are sent once each, and never stored", async () => {
    const { post } = rig(() => {
      const headers = new Headers({ "x-part": "1", "x-request-id": "first", "access-control-allow-origin": "https://a.example" });
      headers.append("set-cookie", "a=1");
      headers.append("set-cookie", "b=2");
      headers.append("link", "</a>; rel=next");
      headers.append("link", "</b>; rel=prev");
      headers.append("x-part", "2");
      return new Response("x", { headers });
    }, { headers: ["X-Part"] });
    const [first, retry] = [await post(), await post()];
    assert.deepEqual(first.headers.getSetCookie(), ["a=1", "b=2"]);
    assert.deepEqual(retry.headers.getSetCookie(), []);
    for (const name of ["x-request-id", "access-control-allow-origin"]) assert.equal(retry.headers.get(name), null);
    for (const name of ["link", "x-part"]) assert.equal(retry.headers.get(name), first.headers.get(name));
  });

  test("two bodies that differ only in bytes that are no UTF-8 are two payloads", async () => {
    const { post } = rig();
    await post({ body: Uint8Array.of(0x22, 0xff, 0x22) });
    assert.equal(await codeOf(await post({ body: Uint8Array.of(0x22, 0xfe, 0x22) })), "IDEMPOTENCY_KEY_CONFLICT");
    assert.ok(isReplay(await post({ body: Uint8Array.of(0x22, 0xff, 0x22) })));
  });

  test("no body and an empty one are the same payload, and each reaches the handler as it came", async () => {
    const seen: (boolean | string)[] = [];
    const { call } = rig(async (request) => {
      seen.push(request.body === null, await request.text());
      return new Response("x");
    });
    for (const [key, body] of [["a", undefined], ["b", new Uint8Array()]] as const) {
      await call(new Request("http://localhost/", { method: "POST", headers: { "idempotency-key": key }, ...(body === undefined ? {} : { body }) }));
    }
    assert.deepEqual(seen, [true, "", false, ""]);
    assert.ok(isReplay(await call(new Request("http://localhost/", { method: "POST", headers: { "idempotency-key": "a" }, body: new Uint8Array() }))));
  });

  test("what passes is untouched: the very request, and the very response", async () => {
    const [request, response] = [new Request("http://localhost/", { method: "PUT", body: "x", headers: KEY }), new Response("y")];
    const { call, store } = rig((got) => {
      assert.equal(got, request);
      return response;
    });
    assert.equal(await call(request), response);
    assert.equal(store.swaps, 0);
  });

  test("it sees the request as it came, its execution and what its runtime adds", async () => {
    class OwnRequest extends Request {
      get tenant() {
        return "acme";
      }
    }
    const { call } = rig(async (request, _, env, ctx) => {
      assert.equal(request.url, "http://localhost/tasks?b=2&a=1");
      assert.deepEqual([request.method, request.headers.get("x-a"), request.headers.get("idempotency-key")], ["POST", "1", '"k"']);
      assert.ok(request instanceof OwnRequest);
      assert.deepEqual([request.tenant, (request as unknown as { user: string }).user], ["acme", "ada"]);
      assert.deepEqual([env, ctx], ["env", "ctx"]);
      const execution = executionOf(request)!;
      assert.deepEqual([execution.attempt, execution.fence > 0n, execution.remaining() > 50_000], [1, true, true]);
      const copy = request.clone();
      assert.deepEqual([...new Uint8Array(await request.arrayBuffer())], [0, 0x20, 0xff]);
      return new Response(await copy.arrayBuffer());
    });
    const headers = { ...KEY, "idempotency-key": '"k"', "x-a": "1" };
    const request = new OwnRequest("http://localhost/tasks?b=2&a=1", { method: "POST", headers, body: Uint8Array.of(0, 0x20, 0xff) });
    assert.equal((await call(Object.assign(request, { user: "ada" }), "env", "ctx")).status, 200);
  });

  test("a request that is made in a way of its own reaches it as a plain one", async () => {
    class Odd extends Request {
      constructor(parts: { where: string }) {
        super(parts.where, { method: "POST", headers: KEY, body: "odd" });
      }
    }
    const { call } = rig(async (request) => new Response(await request.text()));
    assert.equal(await (await call(new Odd({ where: "http://localhost/" }))).text(), "odd");
  });

  test("without a key it has no execution, and may require one", async () => {
    const { post } = rig((request) => new Response(String(executionOf(request))));
    assert.equal(await (await post({ headers: {} })).text(), "undefined");
    assert.equal(await codeOf(await rig(counted, { required: true }).post({ headers: {} })), "IDEMPOTENCY_KEY_MISSING");
    assert.equal(await codeOf(await rig(counted, { required: true }).post({ headers: [["idempotency-key", "a"], ["idempotency-key", "b"]] })), "IDEMPOTENCY_KEY_INVALID");
  });

  test("the scope has the arguments of the handler, and nobody is refused", async () => {
    const scope = async (_: Request, env: { user?: string }) => env.user ?? UNAUTHENTICATED;
    const { post, runs } = rig(counted, { scope });
    await post({}, { user: "ada" });
    assert.ok(isReplay(await post({}, { user: "ada" })));
    assert.ok(!isReplay(await post({}, { user: "bob" })));
    assert.equal((await post({}, {})).status, 401);
    assert.equal(runs(), 2);
  });

  test("an error that it throws is thrown on, and releases the key for the same payload", async () => {
    const failed = new Error("no");
    const { post } = rig((_, run) => {
      if (run === 1) throw failed;
      return counted(_, run);
    });
    await assert.rejects(post(), failed);
    assert.equal(await codeOf(await post({ body: "[1]" })), "IDEMPOTENCY_KEY_CONFLICT");
    assert.equal((await post()).status, 201);
    assert.ok(isReplay(await post()));
  });

  test("what is no response is an error", async () => {
    for (const wrong of [undefined, null, {}, "text"]) {
      const { post } = rig(() => wrong as unknown as Response);
      await assert.rejects(post(), TypeError);
    }
  });

  test("statuses decide: 4xx forgets, 5xx releases", async () => {
    let status = 422;
    const { post } = rig(() => new Response("x", { status }));
    await post({ body: "[1]" });
    status = 503;
    await post({ body: "[2]" });
    assert.equal(await codeOf(await post({ body: "[3]" })), "IDEMPOTENCY_KEY_CONFLICT");
    status = 200;
    assert.ok(!isReplay(await post({ body: "[2]" })));
    assert.ok(isReplay(await post({ body: "[2]" })));
  });

  test("one that wraps several shares their store, and idles with them", async () => {
    const { once } = rig();
    const [a, b] = [once(() => new Response("a")), once(() => new Response("b"))];
    const ask = (path: string) => new Request(`http://localhost${path}`, { method: "POST", headers: KEY });
    await a(ask("/a"));
    assert.equal(await codeOf(await b(ask("/b"))), "IDEMPOTENCY_KEY_CONFLICT");
    await once.idle();
  });
});

suite("the body of a request", () => {
  test("over the limit is refused, whatever its length says", async () => {
    const { post, store, runs } = rig(counted, { bodyLimit: 8 });
    const chunked = (text: string) => ({ body: inPieces([...text]), duplex: "half" }) as RequestInit;
    for (const init of [{ body: "123456789" }, chunked("123456789"), { headers: { ...JSON_KEY, "content-length": "9" }, body: "1" }]) {
      const over = await post(init);
      assert.deepEqual([over.status, await codeOf(over)], [413, "IDEMPOTENCY_BODY_TOO_LARGE"]);
    }
    assert.deepEqual([store.swaps, runs()], [0, 0]);
    await post(chunked("12345678"));
    assert.ok(isReplay(await post({ body: "12345678" })));
  });

  test("that breaks off leaves nothing", async () => {
    const { post, store } = rig();
    const { body, controller, send } = stream();
    send("{");
    controller.error(new Error("the client is gone"));
    const broken = await post({ body, duplex: "half" } as RequestInit);
    assert.deepEqual([broken.status, await codeOf(broken), store.swaps], [400, "IDEMPOTENCY_BODY_UNREADABLE", 0]);
  });

  test("that was read before is refused loudly", async () => {
    const { call, errors, store } = rig();
    const request = new Request("http://localhost/", { method: "POST", headers: KEY, body: "{}" });
    await request.text();
    const refused = await call(request);
    assert.deepEqual([refused.status, await codeOf(refused), store.swaps], [500, "IDEMPOTENCY_BODY_CONSUMED", 0]);
    assert.match(String(errors[0]), /before what reads it/);
  });

  test("its target is what it was sent to", async () => {
    const { call } = rig();
    const at = (url: string) => call(new Request(url, { method: "POST", headers: KEY }));
    await at("http://localhost/tasks?a=1&b=2");
    assert.ok(isReplay(await at("https://elsewhere:8080/tasks?b=2&a=1#part")));
    for (const url of ["http://localhost/tasks", "http://localhost/tasks?", "http://localhost/tasks/?a=1&b=2", "http://localhost/"]) {
      assert.equal(await codeOf(await at(url)), "IDEMPOTENCY_KEY_CONFLICT", url);
    }
  });
});

suite("an answer that cannot be stored reaches its client, and is not executed again", () => {
  const isUnknown = async ({ post, runs }: ReturnType<typeof rig>) => {
    const retry = await post();
    assert.deepEqual([retry.status, await codeOf(retry), runs()], [409, "IDEMPOTENCY_OUTCOME_UNKNOWN", 1]);
  };

  test("over the limit, by its length or by its bytes", async () => {
    for (const headers of [{}, { "content-length": "1001" }] as HeadersInit[]) {
      const one = rig(() => new Response("x".repeat(1001), { headers }), { responseLimit: 1000 });
      assert.equal((await (await one.post()).text()).length, 1001);
      await isUnknown(one);
    }
    const at = rig(() => new Response("x".repeat(1000)), { responseLimit: 1000 });
    await at.post();
    assert.ok(isReplay(await at.post()));
  });

  test("a stream that grows over the limit is whole", async () => {
    const { body, controller, send } = stream();
    for (let at = 0; at < 100; at++) send("0123456789");
    controller.close();
    const one = rig(() => new Response(body), { responseLimit: 95 });
    assert.equal(await (await one.post()).text(), "0123456789".repeat(100));
    await isUnknown(one);
  });

  test("a stream that does not end is passed on after its time, piece by piece", async () => {
    const { body, send, cancelled } = stream();
    send("first");
    const one = rig(() => new Response(body), { streamAfter: "30ms" });
    const reader = (await one.post()).body!.getReader();
    const next = async () => Buffer.from((await reader.read()).value!).toString();
    assert.equal(await next(), "first");
    await isUnknown(one);
    send("second");
    assert.equal(await next(), "second");
    await reader.cancel("enough");
    assert.equal(cancelled(), "enough", "a client that has enough ends the stream");
  });

  test("one whose length is stated is waited for", async () => {
    const { body, send, controller } = stream();
    const one = rig(() => new Response(body, { headers: { "content-length": "4" } }), { streamAfter: 1 });
    const first = one.post();
    await new Promise((resolve) => setTimeout(resolve, 20));
    send("four");
    controller.close();
    assert.equal(await (await first).text(), "four");
    assert.ok(isReplay(await one.post()));
  });

  test("an event stream is passed on at once", async () => {
    const { body, send } = stream();
    const response = new Response(body, { headers: { "content-type": "text/event-stream; charset=utf-8" } });
    const one = rig(() => response, { streamAfter: "1h" });
    const answer = await one.post();
    assert.equal(answer, response, "as it is");
    send("data: 1\n\n");
    assert.equal(Buffer.from((await answer.body!.getReader().read()).value!).toString(), "data: 1\n\n");
    await isUnknown(one);
  });

  test("an error after the answer has begun: what there was, and then the error", async () => {
    const gone = new Error("the source is gone");
    let pulls = 0;
    const body = new ReadableStream({
      pull(controller) {
        if (++pulls > 2) return controller.error(gone);
        controller.enqueue(Buffer.from(["ha", "lf"][pulls - 1]!));
      },
    }, { highWaterMark: 0 });
    const one = rig(() => new Response(body));
    const reader = (await one.post()).body!.getReader();
    assert.equal(Buffer.from((await reader.read()).value!).toString(), "half");
    await assert.rejects(reader.read(), gone);
    await isUnknown(one);
  });

  test("a body that somebody has read already is left to the runtime", async () => {
    const used = new Response("x");
    await used.text();
    const one = rig(() => used);
    assert.equal(await one.post(), used);
    await isUnknown(one);
  });
});

test("behind one that keeps the thread for longer than a lease, nothing is executed late", async () => {
  const { post, runs } = rig((request, run) => (stall(120), counted(request, run)), {}, { lease: "90ms" });
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
    const open = rig(async (request) => new Response(await request.text()), { failOpen: true });
    open.store.always = "lost";
    assert.equal(await (await open.post({ body: "[7]" })).text(), "[7]");
  });

  test("on finish: the client has its answer, nothing is unhandled, and nothing runs again", async (t) => {
    const unhandled: unknown[] = [];
    const note = (error: unknown) => unhandled.push(error);
    process.on("unhandledRejection", note);
    t.after(() => process.off("unhandledRejection", note));
    const { post, store, once, runs } = rig((request, run) => {
      store.always = "lost";
      return counted(request, run);
    });
    assert.deepEqual(await (await post()).json(), { run: 1 });
    assert.equal((await post()).status, 503);
    store.always = "done";
    await once.idle();
    assert.ok(isReplay(await post()));
    await new Promise(setImmediate);
    assert.deepEqual([runs(), unhandled], [1, []]);
  });

  test("while one that hangs on finish keeps no client waiting", async () => {
    const { post, store, once } = rig(counted, { storeTimeout: "40ms" });
    store.next = ["done", "held"];
    assert.equal((await post()).status, 201);
    await once.idle();
    assert.ok(isReplay(await post()));
  });
});

suite("the answer", () => {
  test("is stored before it goes out", async () => {
    const { post, store } = rig();
    store.next = ["done", "held"];
    let out = false;
    const answer = post().then((response) => ((out = true), response));
    while (store.swaps < 2) await new Promise(setImmediate);
    await new Promise(setImmediate);
    assert.equal(out, false);
    store.go();
    await answer;
  });

  test("of a late owner is the winner's, and its own is let go", async () => {
    let now = 1_700_000_000_000;
    const own = stream();
    const one = rig(async (request, run): Promise<Response> => {
      if (run > 1) return counted(request, run);
      now += 60_000;
      assert.deepEqual(await (await one.post()).json(), { run: 2 });
      return new Response(own.body);
    }, { streamAfter: 1 }, { store: memoryStore({ now: () => now }) });
    const late = await one.post();
    assert.ok(isReplay(late));
    assert.deepEqual(await late.json(), { run: 2 });
    assert.equal(own.cancelled(), "cancelled");
  });
});

suite("a runtime that stops with the answer", () => {
  test("is handed the whole of a keyed request, and what goes on after it", async () => {
    const handed: Promise<unknown>[] = [];
    const ctx = { waitUntil(this: unknown, work: Promise<unknown>) {
      assert.equal(this, ctx);
      handed.push(work);
    } };
    const { post, store } = rig(counted);
    store.next = ["done", "lost", "lost"];
    await post({}, { env: 1 }, ctx);
    assert.equal(handed.length, 2);
    await Promise.all(handed);
    assert.ok(isReplay(await post({}, { env: 1 }, ctx)));
    await post({ headers: {} }, { env: 1 }, ctx);
    assert.equal(handed.length, 3, "what passes is not handed on");
  });

  test("by a function of the application's, where it has one", async () => {
    const handed: unknown[][] = [];
    const failed = new Error("no");
    const { post } = rig(() => Promise.reject(failed), { waitUntil: (...args: unknown[]) => handed.push(args) });
    await assert.rejects(post({}, "params"), failed);
    const [[work, request, params]] = handed as [[Promise<unknown>, Request, string]];
    assert.deepEqual([await work, request.url, params], [undefined, "http://localhost/tasks?b=2&a=1", "params"]);
  });
});

suite("a runtime that hands in something of its own", () => {
  test("a request behind a proxy, as Next.js has it", async () => {
    class NextLike extends Request {
      readonly nextUrl = new URL(this.url);
    }
    const inner = new NextLike("http://localhost/tasks?a=1", { method: "POST", headers: JSON_KEY, body: '{"a":1}' });
    const request = new Proxy(inner, {
      get(target, name) {
        const value: unknown = Reflect.get(target, name, target);
        return typeof value === "function" ? value.bind(target) : value;
      },
    });
    const { call } = rig(async (got, _, { params }) => {
      assert.ok(got instanceof NextLike);
      return Response.json([got.nextUrl.search, executionOf(got)?.attempt, await got.json(), await params]);
    });
    const answer = await call(request, { params: Promise.resolve({ id: "7" }) });
    assert.deepEqual(await answer.json(), ["?a=1", 1, { a: 1 }, { id: "7" }]);
  });

  test("a `waitUntil` that throws changes nothing", async () => {
    const { post } = rig(counted, { waitUntil: () => { throw new Error("too late"); } });
    await post();
    assert.ok(isReplay(await post()));
  });
});

suite("over real HTTP", () => {
  test("a retry gets the same head and the same bytes", async (t) => {
    const body = Buffer.from([0xff, 0, 0x0a, 0xfe]);
    const { once } = rig();
    const handler = once(() => new Response(body, { status: 201, headers: { "content-type": "image/x", location: "/1", etag: '"1"' } }));
    const server = await listening(t, handler);
    const [first, retry] = [await posted(server, KEY), await posted(server, KEY)];
    assert.deepEqual([first.body, retry.body], [body, body]);
    for (const name of ["content-type", "location", "etag", "content-length"]) assert.equal(retry.headers[name], first.headers[name], name);
    assert.equal(first.headers["content-length"], "4");
    assert.equal(retry.headers["idempotent-replayed"], "true");
  });

  test("a client that goes away stops nothing, and its retry gets the answer", async (t) => {
    let entered!: () => void, go!: () => void;
    const [begins, goes] = [new Promise<void>((resolve) => (entered = resolve)), new Promise<void>((resolve) => (go = resolve))];
    let aborted: boolean | undefined;
    const { once, runs, call } = rig(async (request) => {
      entered();
      await goes;
      aborted = request.signal.aborted;
      return new Response("done");
    });
    let missed!: () => void;
    const gone = new Promise<void>((resolve) => (missed = resolve));
    const server = await listening(t, (request) => {
      request.signal.addEventListener("abort", missed);
      return call(request);
    });
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
