/** The plugin for Fastify, over real connections. */
import "../src/core/server.js";
import assert from "node:assert/strict";
import { once } from "node:events";
import type { IncomingMessage } from "node:http";
import { connect } from "node:http2";
import type { AddressInfo } from "node:net";
import { PassThrough, Readable } from "node:stream";
import { suite, test, type TestContext } from "node:test";
import Fastify, { type FastifyInstance, type FastifyReply, type FastifyRequest } from "fastify";
import { idempotency, UNAUTHENTICATED, type IdempotencyPluginOptions } from "../src/fastify/index.js";
import { createIdempotency, type IdempotencyOptions } from "../src/idempotency.js";
import { serve, signal, type Answered } from "./loopback.js";
import { stall } from "./stall.js";
import { switchedStore } from "./switched-store.js";

type Handler = (request: FastifyRequest, reply: FastifyReply) => unknown;

/** An application with the plugin. */
async function rig(t: TestContext, options: Partial<IdempotencyPluginOptions> = {}, more: Partial<IdempotencyOptions> = {}) {
  const store = switchedStore();
  const idem = createIdempotency({ store, ...more });
  const app: FastifyInstance = Fastify({ forceCloseConnections: true });
  t.after(() => app.close());
  const scoped = { scope: () => "ada", onError: () => undefined, idem, ...options } as IdempotencyPluginOptions;
  const listening = async () => {
    await app.listen({ host: "127.0.0.1", port: 0 });
    return serve(t, app.server);
  };
  return { store, app, scoped, listening };
}

/** One route whose handler is counted, asked twice. */
async function twice(t: TestContext, handler: Handler, options: Partial<IdempotencyPluginOptions> = {}) {
  const { app, scoped, listening, store } = await rig(t, options);
  await app.register(idempotency, scoped);
  let runs = 0;
  app.post("/", (request, reply) => {
    runs++;
    return handler(request, reply);
  });
  const server = await listening();
  const asked = { key: "k", body: '{"a":1}', headers: { "content-type": "application/json" } };
  const first = await server.ask(asked);
  return { first, again: await server.ask(asked), runs, server, store };
}

async function replays(t: TestContext, handler: Handler, options?: Partial<IdempotencyPluginOptions>): Promise<Answered> {
  const { first, again, runs } = await twice(t, handler, options);
  assert.deepEqual([runs, first.replayed, again.replayed, again.status], [1, false, true, first.status]);
  assert.deepEqual(again.body, first.body);
  assert.equal(again.headers["content-type"], first.headers["content-type"]);
  return first;
}

test("a plugin within another one is told so, where both are for the same caller", async (t) => {
  for (const hook of ["onRequest", "preHandler"] as const) {
    const { app, scoped, listening } = await rig(t);
    const errors: unknown[] = [];
    const scopes = { "/same": "ada", "/other": "inner" };
    await app.register(idempotency, scoped);
    for (const [path, scope] of Object.entries(scopes)) {
      await app.register(async (within) => {
        await within.register(idempotency, { ...scoped, hook, scope: () => scope, onError: (error) => errors.push(error) } as IdempotencyPluginOptions);
        within.post(path, async () => "done");
      });
    }
    const server = await listening();
    const ask = (path: string) => server.ask({ key: path, path, body: "{}", headers: { "content-type": "application/json" } });
    const refused = await ask("/same");
    assert.deepEqual([refused.status, refused.code], [500, "IDEMPOTENCY_NESTED"], hook);
    assert.deepEqual(errors.map((error) => (error as { code: string }).code), ["NESTED"]);
    assert.equal((await ask("/other")).text, "done");
  }
});

test("behind a handler that keeps the thread for longer than a lease, nothing is executed late", async (t) => {
  for (const hook of ["onRequest", "preHandler"] as const) {
    const { app, scoped, listening } = await rig(t, { hook }, { lease: "90ms" });
    await app.register(idempotency, scoped);
    const executed: unknown[] = [];
    app.post("/", async (request, reply) => {
      executed.push(request.headers["idempotency-key"]);
      stall(120);
      return reply.code(201).send();
    });
    const server = await listening();
    assert.deepEqual([await server.pipelined(["first", "second"]), executed], [[201, 503], ["first"]], hook);
    assert.equal((await server.ask({ key: "second" })).status, 201, "the claim was given back");
  }
});

suite("an answer is replayed byte for byte", () => {
  test("what a handler returns", async (t) => {
    const first = await replays(t, async (request, reply) => {
      reply.code(201);
      return { got: request.body, attempt: request.idempotency?.attempt };
    });
    assert.deepEqual([first.status, first.text], [201, '{"got":{"a":1},"attempt":1}']);
  });

  test("reply.send of texts, bytes, false, null and nothing", async (t) => {
    assert.equal((await replays(t, (_, reply) => void reply.send("grüße"))).text, "grüße");
    const bytes = Buffer.from([0, 255, 128, 254]);
    assert.deepEqual((await replays(t, (_, reply) => void reply.send(bytes))).body, bytes);
    assert.equal((await replays(t, (_, reply) => void reply.send(false))).text, "false");
    assert.equal((await replays(t, (_, reply) => void reply.send(null))).text, "null");
    assert.equal((await replays(t, (_, reply) => void reply.send())).text, "");
    assert.equal((await replays(t, (_, reply) => void reply.code(204).send())).status, 204);
  });

  test("streams of Node and of the web, and a Response", async (t) => {
    assert.equal((await replays(t, (_, reply) => void reply.send(Readable.from(["a", "b"])))).text, "ab");
    assert.equal((await replays(t, (_, reply) => void reply.send(new Blob(["web"]).stream()))).text, "web");
    const first = await replays(t, () => new Response("whole", { status: 202, headers: { "content-type": "text/x" } }));
    assert.deepEqual([first.status, first.text, first.headers["content-type"]], [202, "whole", "text/x"]);
  });

  test("through a schema's serialisation, and hooks for onSend, whose work is not done again", async (t) => {
    const { app, scoped, listening } = await rig(t);
    await app.register(idempotency, scoped);
    app.addHook("onSend", async (_, __, payload) => `[${String(payload)}]`);
    const schema = { response: { 201: { type: "object", properties: { id: { type: "string" } } } } };
    app.post("/", { schema }, (_, reply) => void reply.code(201).send({ id: 7, secret: "x" }));
    const server = await listening();
    assert.equal((await server.ask({ key: "k" })).text, '[{"id":"7"}]');
    const again = await server.ask({ key: "k" });
    assert.deepEqual([again.text, again.replayed], ['[{"id":"7"}]', true]);
  });

  test("written to reply.raw, with the reply hijacked", async (t) => {
    const first = await replays(t, (_, reply) => {
      reply.hijack();
      reply.raw.writeHead(202, { "content-type": "text/plain" });
      reply.raw.write("r");
      reply.raw.end("aw");
    });
    assert.deepEqual([first.status, first.text], [202, "raw"]);
  });

  test("over HTTP/2", async (t) => {
    const store = switchedStore();
    const warnings: string[] = [];
    const warned = ({ message }: Error) => void warnings.push(message);
    process.on("warning", warned);
    t.after(() => process.off("warning", warned));
    const app = Fastify({ http2: true, forceCloseConnections: true });
    t.after(() => app.close());
    await app.register(idempotency as never, { idem: createIdempotency({ store }), scope: () => "ada" } as never);
    let runs = 0;
    app.post("/", async (request, reply) => {
      reply.code(201);
      return { runs: ++runs, got: request.body };
    });
    app.post("/stream", (_, reply) => void reply.send(Readable.from(["a", "b"])));
    await app.listen({ host: "127.0.0.1", port: 0 });
    const client = connect(`http://127.0.0.1:${(app.server.address() as AddressInfo).port}`);
    t.after(() => client.destroy());
    const ask = async (path: string, body: string) => {
      const sent = client.request({ ":method": "POST", ":path": path, "idempotency-key": path, "content-type": "application/json" });
      sent.end(body);
      const [head] = (await once(sent, "response")) as [Record<string, string>];
      let text = "";
      for await (const piece of sent) text += String(piece);
      return [head[":status"], text, head["idempotent-replayed"]] as unknown[];
    };
    assert.deepEqual(await ask("/", '{"a":1}'), [201, '{"runs":1,"got":{"a":1}}', undefined]);
    assert.deepEqual(await ask("/", '{"a":1}'), [201, '{"runs":1,"got":{"a":1}}', "true"]);
    assert.equal((await ask("/", '{"a":2}'))[0], 409);
    assert.deepEqual(await ask("/stream", "{}"), [200, "ab", undefined]);
    assert.deepEqual(await ask("/stream", "{}"), [200, "ab", "true"]);
    assert.deepEqual(warnings, [], "HTTP/2 has no reasons beside its statuses, and warns who asks for them");
  });

  test("without a network, too", async (t) => {
    const { app, scoped } = await rig(t);
    await app.register(idempotency, scoped);
    let runs = 0;
    app.post("/", async (request) => ({ runs: ++runs, got: request.body }));
    const inject = (payload: object) => app.inject({ method: "POST", url: "/", headers: { "idempotency-key": "k" }, payload });
    const first = await inject({ a: 1 });
    const again = await inject({ a: 1 });
    assert.deepEqual([first.body, again.body], ['{"runs":1,"got":{"a":1}}', '{"runs":1,"got":{"a":1}}']);
    assert.equal(again.headers["idempotent-replayed"], "true");
    assert.equal((await inject({ a: 2 })).statusCode, 409);
  });
});

suite("what cannot be stored reaches its client, and retries are told that it is unknown", () => {
  test("over the limit", async (t) => {
    const long = Buffer.alloc(300_000, 5);
    for (const payload of [() => long, () => Readable.from([long.subarray(0, 100_000), long.subarray(100_000)])]) {
      const { first, again, runs } = await twice(t, (_, reply) => void reply.send(payload()), { responseLimit: 50_000 });
      assert.deepEqual(first.body, long);
      assert.deepEqual([again.code, runs], ["IDEMPOTENCY_OUTCOME_UNKNOWN", 1]);
    }
  });

  test("trailers", async (t) => {
    const { first, again } = await twice(t, (_, reply) => void reply.trailer("x-sum", async () => "42").send("a"));
    assert.deepEqual([first.text, first.trailers["x-sum"], again.code], ["a", "42", "IDEMPOTENCY_OUTCOME_UNKNOWN"]);
  });

  test("a stream that breaks off", async (t) => {
    const { app, scoped, listening, store } = await rig(t);
    await app.register(idempotency, scoped);
    app.post("/", (_, reply) => {
      const source = new PassThrough();
      source.write("half of it", () => setImmediate(() => source.destroy(new Error("broke off"))));
      return reply.send(source);
    });
    const server = await listening();
    await assert.rejects(server.ask({ key: "k" }));
    await store.done(2);
    assert.equal((await server.ask({ key: "k" })).code, "IDEMPOTENCY_OUTCOME_UNKNOWN");
  });

  test("events go out at once", async (t) => {
    const { app, scoped, listening } = await rig(t, { streamAfter: "1h" });
    await app.register(idempotency, scoped);
    const source = new PassThrough();
    app.post("/", (_, reply) => reply.type("text/event-stream").send(source));
    const server = await listening();
    const sent = server.begin({ key: "k" });
    source.write("data: 1\n\n");
    const [message] = (await once(sent, "response")) as [IncomingMessage];
    assert.equal(String((await once(message, "data"))[0]), "data: 1\n\n");
    assert.equal((await server.ask({ key: "k", alone: true })).code, "IDEMPOTENCY_OUTCOME_UNKNOWN");
    source.end();
    message.resume();
    await once(message, "end");
  });
});

suite("a handler that fails", () => {
  test("throws or rejects: the error handler answers, and the key is free for the same payload", async (t) => {
    for (const fail of [
      () => {
        throw new Error("thrown");
      },
      async () => Promise.reject(new Error("rejected")),
    ]) {
      const { first, again, runs, server } = await twice(t, fail);
      assert.deepEqual([first.status, again.status, again.replayed, runs], [500, 500, false, 2]);
      assert.equal((await server.ask({ key: "k", body: "[]", headers: { "content-type": "application/json" } })).code, "IDEMPOTENCY_KEY_CONFLICT");
    }
  });

  test("the answer of the application's error handler counts", async (t) => {
    const { app, scoped, listening } = await rig(t);
    await app.register(idempotency, scoped);
    let runs = 0;
    app.setErrorHandler((_, __, reply) => void reply.code(200).send({ runs }));
    app.post("/", async () => {
      throw new Error(String(++runs));
    });
    const server = await listening();
    assert.equal((await server.ask({ key: "k" })).text, '{"runs":1}');
    const again = await server.ask({ key: "k" });
    assert.deepEqual([again.text, again.replayed], ['{"runs":1}', true]);
  });

  test("a refusal, by validation or by a body that is no JSON, forgets the key", async (t) => {
    const { app, scoped, listening } = await rig(t);
    await app.register(idempotency, scoped);
    const schema = { body: { type: "object", required: ["a"] } };
    app.post("/", { schema }, async (request) => request.body);
    const server = await listening();
    const headers = { "content-type": "application/json" };
    assert.equal((await server.ask({ key: "k", body: "{}", headers })).status, 400);
    assert.equal((await server.ask({ key: "k", body: "{", headers })).status, 400);
    assert.equal((await server.ask({ key: "k", body: '{"a":1}', headers })).text, '{"a":1}');
  });

  test("a store that fails on begin: 503, and it is not run; on finish: the client has its answer", async (t) => {
    const { app, scoped, listening, store } = await rig(t);
    await app.register(idempotency, scoped);
    let runs = 0;
    app.post("/", async () => {
      store.always = "lost";
      return ++runs;
    });
    const server = await listening();
    store.always = "lost";
    assert.deepEqual([(await server.ask({ key: "k" })).status, runs], [503, 0]);
    store.always = "done";
    assert.equal((await server.ask({ key: "k" })).text, "1");
    store.always = "done";
    const again = await server.ask({ key: "k" });
    assert.ok(again.replayed || again.code === "IDEMPOTENCY_IN_PROGRESS");
    assert.equal(runs, 1);
  });
});

suite("a client that goes away does not stop the handler", () => {
  test("its answer is stored, and close() waits for it", async (t) => {
    const { app, scoped, listening, store } = await rig(t);
    await app.register(idempotency, scoped);
    const running = signal<IncomingMessage>();
    const on = signal();
    app.post("/", async (request) => {
      running.happen(request.raw);
      await on.happened;
      return { made: 1 };
    });
    const server = await listening();
    const sent = server.begin({ key: "k", alone: true });
    sent.on("error", () => undefined);
    const gone = once((await running.happened).socket, "close");
    sent.destroy();
    await gone;
    let closed = false;
    const closing = app.close().then(() => (closed = true));
    await once(app.server, "close");
    assert.deepEqual([closed, store.swaps], [false, 1]);
    on.happen();
    await closing;
    assert.equal(store.swaps, 2);
  });

  test("a stream is read to its end", async (t) => {
    const { app, scoped, listening, store } = await rig(t);
    await app.register(idempotency, scoped);
    const running = signal<IncomingMessage>();
    const on = signal();
    app.post("/", async (request, reply) => {
      running.happen(request.raw);
      await on.happened;
      return reply.send(Readable.from(["a", "b"]));
    });
    const server = await listening();
    const sent = server.begin({ key: "k", alone: true });
    sent.on("error", () => undefined);
    const gone = once((await running.happened).socket, "close");
    sent.destroy();
    await gone;
    on.happen();
    await store.done(2);
    const again = await server.ask({ key: "k" });
    assert.deepEqual([again.text, again.replayed], ["ab", true]);
  });
});

test("a body that breaks off claims nothing, and nothing is run", async (t) => {
  const { app, scoped, listening, store } = await rig(t);
  await app.register(idempotency, scoped);
  let runs = 0;
  app.post("/", async () => ++runs);
  const server = await listening();
  const socket = await server.dial();
  const arrived = once(app.server, "request") as Promise<[IncomingMessage]>;
  socket.write("POST / HTTP/1.1\r\nHost: x\r\nIdempotency-Key: k\r\nContent-Type: text/plain\r\nContent-Length: 10\r\n\r\nhalf");
  const [request] = await arrived;
  const closed = signal();
  request.on("close", () => closed.happen());
  socket.destroy();
  await closed.happened;
  request.destroy();
  const whole = { key: "k", body: "1234567890", headers: { "content-type": "text/plain" } };
  assert.equal((await server.ask(whole)).text, "1");
  assert.equal(store.asked.filter(({ expect }) => expect === "vacant").length, 1);
});

suite("where it stands", () => {
  test("behind hooks that are registered before, and before those that come after: a retry passes a rate limit", async (t) => {
    const { app, scoped, listening } = await rig(t, {
      scope: (request) => (request as { user?: string }).user ?? UNAUTHENTICATED,
    });
    app.addHook("onRequest", async (request, reply) => {
      (request as { user?: string }).user = request.headers.authorization as string;
      reply.header("access-control-allow-origin", "*");
    });
    await app.register(idempotency, scoped);
    let left = 1;
    app.addHook("onRequest", async (_, reply) => {
      if (left-- <= 0) return reply.code(429).send({ slow: "down" });
    });
    app.post("/", async () => "done");
    const server = await listening();
    const ask = (authorization: string, key = "k") => server.ask({ key, headers: { authorization } });
    assert.equal((await ask("ada")).text, "done");
    const again = await ask("ada");
    assert.deepEqual([again.text, again.replayed, again.headers["access-control-allow-origin"]], ["done", true, "*"]);
    assert.equal((await ask("ben")).status, 429);
    assert.equal((await ask("ada", "other")).status, 429);
    const nobody = await server.ask({ key: "k" });
    assert.deepEqual([nobody.status, nobody.code], [401, "UNAUTHENTICATED"]);
  });

  test("in a later hook, where it is known only then who is asking", async (t) => {
    for (const hook of ["preValidation", "preHandler"] as const) {
      const { app, scoped, listening } = await rig(t, { hook, scope: (request) => (request as { user?: string }).user });
      app.addHook(hook, async (request) => {
        (request as { user?: string }).user = (request.body as { user?: string }).user as string;
      });
      await app.register(idempotency, scoped);
      let runs = 0;
      app.post("/", async (request) => {
        (request.body as { changed?: number }).changed = ++runs;
        return request.body;
      });
      const server = await listening();
      const ask = (body: string) => server.ask({ key: "k", body, headers: { "content-type": "application/json" } });
      assert.equal((await ask('{"user":"ada"}')).text, '{"user":"ada","changed":1}');
      assert.equal((await ask('{"user":"ada"}')).replayed, true);
      assert.equal((await ask('{"user":"ada","more":1}')).code, "IDEMPOTENCY_KEY_CONFLICT");
      assert.equal((await ask('{"user":"ben"}')).text, '{"user":"ben","changed":2}');
      assert.equal((await ask("{")).status, 400);
    }
  });

  test("in a later hook, a handler may say that nothing is found, with a key and without", async (t) => {
    for (const hook of ["preValidation", "preHandler"] as const) {
      const { app, scoped, listening } = await rig(t, { hook });
      await app.register(idempotency, scoped);
      let runs = 0;
      app.all("/", (_, reply) => {
        runs++;
        reply.callNotFound();
      });
      const server = await listening();
      assert.equal((await server.ask({ method: "GET" })).status, 404);
      assert.equal((await server.ask()).status, 404);
      for (const run of [3, 4]) assert.deepEqual([(await server.ask({ key: "k" })).status, runs], [404, run]);
    }
  });

  test("a route has settings of its own, or none", async (t) => {
    const { app, scoped, listening, store } = await rig(t);
    await app.register(idempotency, scoped);
    app.post("/required", { config: { idempotency: { required: true, profile: "ietf" } } }, async () => 1);
    app.post("/off", { config: { idempotency: false } }, async () => 2);
    await app.register(async (inner) => void inner.post("/inner", async () => 3));
    const server = await listening();
    const missing = await server.ask({ path: "/required" });
    assert.deepEqual([missing.status, missing.headers["content-type"]], [400, "application/problem+json"]);
    assert.equal((await server.ask({ path: "/off", key: "k" })).text, "2");
    assert.equal((await server.ask({ path: "/nowhere", key: "k" })).status, 404);
    assert.equal(store.swaps, 0);
    assert.equal((await server.ask({ path: "/inner", key: "k" })).text, "3");
    assert.equal((await server.ask({ path: "/inner", key: "k" })).replayed, true);
  });

  test("what is wrong with its options, or those of a route, is said at once", async (t) => {
    const { app, scoped } = await rig(t);
    await assert.rejects(async () => app.register(idempotency, { ...scoped, hook: "onSend" as "onRequest" }), { code: "OPTIONS_INVALID" });
    const second = await rig(t);
    await second.app.register(idempotency, second.scoped);
    assert.throws(() => second.app.post("/", { config: { idempotency: { bodyLimit: -1 } } }, async () => 1), { code: "OPTIONS_INVALID" });
  });
});

suite("the body of a request", () => {
  test("is there for parsers of every kind", async (t) => {
    const { app, scoped, listening } = await rig(t);
    await app.register(idempotency, scoped);
    app.addContentTypeParser("application/stream", (_, payload, done) => done(null, payload));
    app.addContentTypeParser("application/bytes", { parseAs: "buffer" }, (_, body, done) => done(null, body));
    app.addHook("preParsing", async (_, __, payload) => payload);
    app.post("/", (request, reply) => void reply.send(request.body));
    const server = await listening();
    const long = JSON.stringify({ a: "x".repeat(200_000) });
    for (const type of ["application/json", "text/plain", "application/stream", "application/bytes"]) {
      const ask = () => server.ask({ key: type, body: long, headers: { "content-type": type } });
      assert.ok((await ask()).text === long, type);
      assert.equal((await ask()).replayed, true);
    }
  });

  test("over the limit is refused, and the connection goes on", async (t) => {
    const { first, again, runs, server } = await twice(t, () => "a", { bodyLimit: 7 });
    assert.deepEqual([first.text, again.replayed, runs], ["a", true, 1]);
    const long = { key: "l", body: Buffer.alloc(2_000_000), headers: { "content-type": "text/plain" } };
    assert.equal((await server.ask(long)).code, "IDEMPOTENCY_BODY_TOO_LARGE");
    assert.equal((await server.ask({ key: "l" })).text, "a");
  });
});
