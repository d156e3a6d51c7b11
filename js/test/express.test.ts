/** The middleware for Express, in both its versions, over real connections. */
import "../src/core/server.js";
import assert from "node:assert/strict";
import { once } from "node:events";
import { createReadStream } from "node:fs";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import type { IncomingMessage, ServerResponse } from "node:http";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { PassThrough, pipeline, Readable } from "node:stream";
import { suite, test, type TestContext } from "node:test";
import { createGzip, gunzipSync, gzipSync } from "node:zlib";
import express5, { type ErrorRequestHandler, type Express, type RequestHandler } from "express";
// @ts-expect-error: it has no types of its own, and those of Express 5 fit what is used here.
import express4 from "express4";
import { idempotent, type ExpressOptions } from "../src/express/index.js";
import { createIdempotency, type IdempotencyOptions } from "../src/idempotency.js";
import { answer, listen, signal, type Answered, type Loopback } from "./loopback.js";
import { switchedStore } from "./switched-store.js";

type Make = typeof express5;

for (const [version, express] of [["Express 5", express5], ["Express 4", express4 as Make]] as const) {
  /** An application with the middleware, and what was asked of it. */
  const rig = (options: Partial<ExpressOptions> = {}, more: Partial<IdempotencyOptions> = {}) => {
    const store = switchedStore();
    const idem = createIdempotency({ store, ...more });
    const errors: unknown[] = [];
    const scoped = { scope: () => "ada", onError: (error: unknown) => void errors.push(error), ...options };
    const app: Express = express();
    app.set("env", "test");
    const protect = idempotent(idem, scoped as ExpressOptions);
    return { store, idem, app, errors, protect };
  };

  /** One route whose handler is counted, and its answer, a replay of it, and the count. */
  const twice = async (t: TestContext, handler: RequestHandler, options: Partial<ExpressOptions> = {}, before: RequestHandler[] = []) => {
    const { app, protect, store } = rig(options);
    let runs = 0;
    const counted: RequestHandler = (req, res, next) => {
      runs++;
      return handler(req, res, next);
    };
    app.post("/", ...before, protect, counted);
    const server = await listen(t, app);
    const first = await server.ask({ key: "k", body: "x" });
    const again = await server.ask({ key: "k", body: "x" });
    return { first, again, runs: () => runs, server, store };
  };

  const replays = async (t: TestContext, handler: RequestHandler, options?: Partial<ExpressOptions>): Promise<Answered> => {
    const { first, again, runs } = await twice(t, handler, options);
    assert.equal(runs(), 1);
    assert.equal(first.replayed, false);
    assert.equal(again.replayed, true);
    assert.equal(again.status, first.status);
    assert.deepEqual(again.body, first.body);
    assert.equal(again.headers["content-type"], first.headers["content-type"]);
    return first;
  };

  const unstorable = async (t: TestContext, handler: RequestHandler, options?: Partial<ExpressOptions>): Promise<Answered> => {
    const { first, again, runs } = await twice(t, handler, options);
    assert.equal(runs(), 1);
    assert.equal(again.code, "IDEMPOTENCY_OUTCOME_UNKNOWN");
    return first;
  };

  suite(version, () => {
    suite("an answer is replayed byte for byte", () => {
      test("res.json", async (t) => {
        const first = await replays(t, (_, res) => void res.status(201).json({ id: "vt_1", none: null }));
        assert.equal(first.text, '{"id":"vt_1","none":null}');
        assert.equal(first.status, 201);
      });

      test("res.json(false) and res.json(null)", async (t) => {
        assert.equal((await replays(t, (_, res) => void res.json(false))).text, "false");
        assert.equal((await replays(t, (_, res) => void res.json(null))).text, "null");
      });

      test("res.send of a text, of bytes and of nothing, with its ETag", async (t) => {
        const first = await replays(t, (_, res) => void res.send("grüße"));
        assert.equal(first.text, "grüße");
        assert.ok(first.headers.etag);
        const bytes = Buffer.from([0, 255, 254, 128, 13, 10, 0]);
        assert.deepEqual((await replays(t, (_, res) => void res.send(bytes))).body, bytes);
        assert.equal((await replays(t, (_, res) => void res.send())).text, "");
      });

      test("204 and 304 without a body, whatever is written", async (t) => {
        assert.equal((await replays(t, (_, res) => void res.status(204).end())).status, 204);
        const written = await replays(t, (_, res) => {
          res.writeHead(204);
          res.write("nobody");
          res.end("reads it");
        });
        assert.equal(written.text, "");
        assert.equal((await replays(t, (_, res) => void res.status(304).end())).status, 304);
      });

      test("an undefined body: res.json(undefined) and res.end()", async (t) => {
        assert.equal((await replays(t, (_, res) => void res.json(undefined))).text, "");
        assert.equal((await replays(t, (_, res) => void res.end())).text, "");
      });

      test("pieces: texts with encodings, buffers, and other arrays of bytes", async (t) => {
        const called: string[] = [];
        const first = await replays(t, (_, res) => {
          res.write("é", "latin1", () => called.push("first"));
          res.write("c3a9", "hex");
          res.write(Buffer.from([0, 1]), () => called.push("second"));
          res.write(new Uint8Array([254, 255]));
          res.write("");
          res.end("w6k=", "base64", () => called.push("end"));
        });
        assert.deepEqual(first.body, Buffer.from([0xe9, 0xc3, 0xa9, 0, 1, 254, 255, 0xc3, 0xa9]));
        assert.deepEqual(called, ["first", "second", "end"]);
      });

      test("res.end in every form calls back once it is out", async (t) => {
        for (const end of [
          (res: ServerResponse, done: () => void) => res.end(done),
          (res: ServerResponse, done: () => void) => res.end("a", done),
          (res: ServerResponse, done: () => void) => res.end("YQ==", "base64", done),
          (res: ServerResponse, done: () => void) => res.end(Buffer.from("a"), done),
        ]) {
          const out = signal();
          await replays(t, (_, res) => void end(res, out.happen));
          await out.happened;
        }
      });

      test("a handler that waits for each piece to be taken", async (t) => {
        const first = await replays(t, async (_, res) => {
          for (const piece of ["a", "b", "c"]) await new Promise((taken) => res.write(piece, taken));
          res.end();
        });
        assert.equal(first.text, "abc");
      });

      test("a buffer that is used for something else right after", async (t) => {
        const first = await replays(t, (_, res) => {
          const shared = Buffer.from("one ");
          res.write(shared);
          shared.write("two ");
          res.end(shared);
          shared.write("zero");
        });
        assert.equal(first.text, "one two ");
      });

      test("writeHead, with a reason and headers in every form", async (t) => {
        const location = async (handler: (res: ServerResponse) => unknown) => {
          const { first, again } = await twice(t, (_, res) => void handler(res));
          assert.equal(first.status, 201);
          assert.equal(again.status, 201);
          assert.equal(again.headers.location, first.headers.location);
          return first;
        };
        const head = { Location: "/1" };
        assert.equal((await location((res) => res.writeHead(201, "Made", head).end("x"))).reason, "Made");
        assert.equal((await location((res) => res.writeHead(201, head).end("x"))).headers.location, "/1");
        assert.equal((await location((res) => res.writeHead(201, ["Location", "/2"]).end())).headers.location, "/2");
        const set = await location((res) => res.setHeader("location", "/3").writeHead(201, ["Location", "/4"]).end());
        assert.equal(set.headers.location, "/4");
      });

      test("headers that come twice stay in their order", async (t) => {
        const links = ["</a>; rel=next", "</b>; rel=prev"];
        const { first, again } = await twice(t, (_, res) => {
          res.setHeader("Link", links[0] as string);
          res.appendHeader("Link", links[1] as string);
          res.setHeader("Content-Language", "de");
          res.removeHeader("Content-Language");
          res.setHeader("Set-Cookie", ["a=1", "b=2"]);
          res.json(1);
        });
        const lines = ({ lines }: Answered) => lines.filter((_, at) => at % 2 === 1 && lines[at - 1]?.toLowerCase() === "link");
        assert.deepEqual(lines(first), links);
        assert.deepEqual(lines(again), links);
        assert.deepEqual(first.headers["set-cookie"], ["a=1", "b=2"]);
        assert.equal(again.headers["set-cookie"], undefined);
        assert.equal(again.headers["content-language"], undefined);
      });

      test("streams up to the limit: pipe, pipeline, res.sendFile", async (t) => {
        const folder = await mkdtemp(join(tmpdir(), "idemp-"));
        t.after(() => rm(folder, { recursive: true }));
        const file = join(folder, "a.bin");
        const bytes = Buffer.alloc(200_000, Uint8Array.from({ length: 251 }, (_, at) => at));
        await writeFile(file, bytes);
        assert.deepEqual((await replays(t, (_, res) => void createReadStream(file).pipe(res))).body, bytes);
        assert.deepEqual((await replays(t, (_, res) => void pipeline(createReadStream(file), res, () => undefined))).body, bytes);
        const sent = await replays(t, (_, res) => res.sendFile(file));
        assert.deepEqual(sent.body, bytes);
        assert.equal(sent.headers["content-type"], "application/octet-stream");
      });

      test("an application that is mounted further in", async (t) => {
        const { app, protect } = rig();
        const inner: Express = express();
        let runs = 0;
        inner.post("/make", (_, res) => void res.status(201).json(++runs));
        app.use("/inner", protect, inner);
        const server = await listen(t, app);
        assert.equal((await server.ask({ path: "/inner/make", key: "k" })).text, "1");
        const again = await server.ask({ path: "/inner/make", key: "k" });
        assert.deepEqual([again.text, again.replayed], ["1", true]);
        assert.equal((await server.ask({ path: "/inner/make?x=1", key: "k" })).code, "IDEMPOTENCY_KEY_CONFLICT");
      });
    });

    suite("to the handler the response looks as it always does", () => {
      test("what was sent is told, and cannot be changed any more", async (t) => {
        const seen: unknown[] = [];
        const errors: string[] = [];
        const attempt = (work: () => unknown) => {
          try {
            work();
          } catch (error) {
            errors.push((error as NodeJS.ErrnoException).code ?? "");
          }
        };
        const first = await replays(t, (_, res) => {
          seen.push(res.headersSent, res.writableEnded);
          attempt(() => res.write(null));
          attempt(() => res.write({}));
          attempt(() => res.write("x", "no encoding" as BufferEncoding));
          attempt(() => res.writeHead(42));
          seen.push(res.headersSent);
          res.write("a");
          seen.push(res.headersSent, res.writableEnded);
          attempt(() => res.setHeader("x", "y"));
          attempt(() => res.writeHead(200));
          res.statusCode = 500;
          res.end("b");
          seen.push(res.writableEnded, res.writableFinished);
          res.end();
        });
        assert.deepEqual(seen, [false, false, false, true, false, true, false]);
        assert.deepEqual(errors, [
          "ERR_STREAM_NULL_VALUES",
          "ERR_INVALID_ARG_TYPE",
          "ERR_UNKNOWN_ENCODING",
          "ERR_HTTP_INVALID_STATUS_CODE",
          "ERR_HTTP_HEADERS_SENT",
          "ERR_HTTP_HEADERS_SENT",
        ]);
        assert.deepEqual([first.status, first.text], [200, "ab"]);
      });

      test("what is written after the end is an error of the response, and is not sent", async (t) => {
        const heard = signal<NodeJS.ErrnoException>();
        const first = await replays(t, (_, res) => {
          res.on("error", heard.happen);
          res.end("a");
          res.write("b");
        });
        assert.equal(first.text, "a");
        assert.equal((await heard.happened).code, "ERR_STREAM_WRITE_AFTER_END");
      });

      test("finish and close come when it is out", async (t) => {
        const events: string[] = [];
        const closed = signal();
        const { app, protect, store } = rig();
        app.post("/", protect, (_, res) => {
          res.on("finish", () => events.push("finish"));
          res.on("close", () => {
            events.push("close");
            closed.happen();
          });
          res.end("a");
          store.done(2).then(() => events.push("stored"));
        });
        const server = await listen(t, app);
        await server.ask({ key: "k" });
        await closed.happened;
        assert.deepEqual(events, ["stored", "finish", "close"]);
      });

      test("nothing goes out before it is stored", async (t) => {
        const { app, protect, store } = rig();
        const ended = signal();
        app.post("/", protect, (_, res) => {
          store.always = "held";
          res.end("a");
          ended.happen();
        });
        const server = await listen(t, app);
        let out = false;
        const asked = server.ask({ key: "k" }).finally(() => (out = true));
        await ended.happened;
        // A trip to the server and back, on another connection.
        await server.ask({ method: "GET", path: "/nothing", alone: true });
        assert.equal(out, false);
        store.go();
        assert.equal((await asked).text, "a");
      });

      test("information comes before it, at once", async (t) => {
        const { app, protect, store } = rig();
        app.post("/", protect, (_, res) => {
          store.always = "held";
          res.writeProcessing();
          res.writeEarlyHints({ link: "</a.css>; rel=preload" });
          res.end("a");
        });
        const server = await listen(t, app);
        const sent = server.begin({ key: "k" });
        const hints: number[] = [];
        sent.on("information", ({ statusCode }: { statusCode: number }) => {
          hints.push(statusCode);
          if (hints.length === 2) store.go();
        });
        assert.equal((await answer(sent)).text, "a");
        assert.deepEqual(hints, [102, 103]);
      });

      test("those who stand around it see the head and the bytes: of the answer and of the replay", async (t) => {
        // As `compression` and `on-headers` do it.
        const compress: RequestHandler = (_, res, next) => {
          const { end, writeHead } = res;
          res.writeHead = function (this: ServerResponse, ...head: unknown[]) {
            this.setHeader("Content-Encoding", "gzip");
            this.removeHeader("Content-Length");
            return writeHead.apply(this, head as never);
          } as typeof writeHead;
          res.end = function (this: ServerResponse, chunk?: unknown, encoding?: BufferEncoding) {
            return end.call(this, gzipSync(typeof chunk === "string" ? Buffer.from(chunk, encoding) : (chunk as Buffer)), "utf8");
          } as typeof end;
          next();
        };
        const { first, again, runs } = await twice(t, (_, res) => void res.json({ a: 1 }), {}, [compress]);
        assert.equal(runs(), 1);
        for (const { headers, body } of [first, again]) {
          assert.equal(headers["content-encoding"], "gzip");
          assert.equal(gunzipSync(body).toString(), '{"a":1}');
        }
        assert.equal(again.replayed, true);
      });

      test("those between it and the handler write the head with it", async (t) => {
        const { app, protect } = rig({ headers: ["x-took"] });
        app.post(
          "/",
          protect,
          (_, res, next) => {
            const { writeHead } = res;
            res.writeHead = function (this: ServerResponse, ...head: unknown[]) {
              this.setHeader("X-Took", "1ms");
              return writeHead.apply(this, head as never);
            } as typeof writeHead;
            next();
          },
          (_, res) => void res.end("a"),
        );
        const server = await listen(t, app);
        assert.equal((await server.ask({ key: "k" })).headers["x-took"], "1ms");
        assert.equal((await server.ask({ key: "k" })).headers["x-took"], "1ms");
      });

      test("what is set before it stays on replays and refusals", async (t) => {
        const cors: RequestHandler = (_, res, next) => {
          res.setHeader("Access-Control-Allow-Origin", "*");
          next();
        };
        const { first, again, server } = await twice(t, (_, res) => void res.json(1), {}, [cors]);
        const refused = await server.ask({ key: "k", body: "y" });
        assert.equal(refused.code, "IDEMPOTENCY_KEY_CONFLICT");
        for (const { headers } of [first, again, refused]) assert.equal(headers["access-control-allow-origin"], "*");
      });
    });

    suite("what cannot be stored reaches its client, and retries are told that it is unknown", () => {
      test("a body over the limit, whole or in pieces, with the length told or not", async (t) => {
        const long = Buffer.alloc(100_000, 7);
        const limit = { responseLimit: 50_000 };
        assert.deepEqual((await unstorable(t, (_, res) => void res.send(long), limit)).body, long);
        assert.deepEqual((await unstorable(t, (_, res) => void res.end(long), limit)).body, long);
        const pieces = await unstorable(t, (_, res) => void Readable.from([long, long, long]).pipe(res), limit);
        assert.deepEqual(pieces.body, Buffer.concat([long, long, long]));
      });

      test("a long stream, with back pressure", async (t) => {
        const pieces = Array.from({ length: 400 }, (_, at) => Buffer.alloc(10_000, at));
        const first = await unstorable(t, (_, res) => void pipeline(Readable.from(pieces), res, () => undefined), { responseLimit: 20_000 });
        assert.deepEqual(first.body, Buffer.concat(pieces));
      });

      test("a body at the limit is stored", async (t) => {
        const long = Buffer.alloc(50_000, 7);
        await replays(t, (_, res) => void res.end(long), { responseLimit: 50_000 });
      });

      test("a stream that does not end in time goes out as it comes", async (t) => {
        const { app, protect } = rig({ streamAfter: 30 });
        const source = new PassThrough();
        app.post("/", protect, (_, res) => void source.pipe(res));
        const server = await listen(t, app);
        const sent = server.begin({ key: "k" });
        source.write("a");
        const [message] = (await once(sent, "response")) as [IncomingMessage];
        assert.equal(String((await once(message, "data"))[0]), "a");
        assert.equal((await server.ask({ key: "k", alone: true })).code, "IDEMPOTENCY_OUTCOME_UNKNOWN");
        source.end("b");
        assert.equal(String((await once(message, "data"))[0]), "b");
      });

      test("headers that are flushed go out in time", async (t) => {
        const { app, protect } = rig({ streamAfter: 30 });
        const on = signal();
        app.post("/", protect, (_, res) => {
          res.flushHeaders();
          void on.happened.then(() => res.end("a"));
        });
        const server = await listen(t, app);
        const sent = server.begin({ key: "k" });
        await once(sent, "response");
        on.happen();
        assert.equal((await server.ask({ key: "k", alone: true })).code, "IDEMPOTENCY_OUTCOME_UNKNOWN");
      });

      test("text/event-stream goes out at once", async (t) => {
        const { app, protect } = rig({ streamAfter: "1h" });
        const on = signal();
        app.post("/", protect, (_, res) => {
          res.writeHead(200, { "Content-Type": "text/event-stream; charset=utf-8" });
          res.write("data: 1\n\n");
          void on.happened.then(() => res.end("data: 2\n\n"));
        });
        const server = await listen(t, app);
        const sent = server.begin({ key: "k" });
        const [message] = (await once(sent, "response")) as [IncomingMessage];
        assert.equal(String((await once(message, "data"))[0]), "data: 1\n\n");
        on.happen();
        assert.equal(String((await once(message, "data"))[0]), "data: 2\n\n");
        assert.equal((await server.ask({ key: "k", alone: true })).code, "IDEMPOTENCY_OUTCOME_UNKNOWN");
      });

      test("an answer with trailers", async (t) => {
        const first = await unstorable(t, (_, res) => {
          res.setHeader("Trailer", "X-Sum");
          res.write("a");
          res.addTrailers({ "X-Sum": "42" });
          res.end("b");
        });
        assert.deepEqual([first.text, first.trailers["x-sum"]], ["ab", "42"]);
      });

      test("one that is shorter than it says", async (t) => {
        const { app, protect } = rig();
        app.post("/", protect, (_, res) => {
          res.setHeader("Content-Length", "5");
          res.setHeader("Connection", "close");
          res.end("abc");
        });
        const server = await listen(t, app);
        await assert.rejects(server.ask({ key: "k" }));
        assert.equal((await server.ask({ key: "k" })).code, "IDEMPOTENCY_OUTCOME_UNKNOWN");
      });
    });

    suite("a handler that fails", () => {
      const failing = async (t: TestContext, handler: RequestHandler) => {
        const { first, again, runs } = await twice(t, handler);
        assert.deepEqual([first.status, again.status, again.replayed, runs()], [500, 500, false, 2]);
      };

      test("throws: the error handler answers, and the key is free for the same payload", (t) =>
        failing(t, () => {
          throw new Error("thrown");
        }));

      test("hands its error on", (t) => failing(t, (_, __, next) => next(new Error("handed on"))));

      if (express === express5) {
        test("rejects", (t) => failing(t, async () => Promise.reject(new Error("rejected"))));
      }

      test("is free for the same payload only", async (t) => {
        const { server } = await twice(t, (_, __, next) => next(new Error("handed on")));
        assert.equal((await server.ask({ key: "k", body: "y" })).code, "IDEMPOTENCY_KEY_CONFLICT");
      });

      test("the answer of the application's error handler counts", async (t) => {
        const { app, protect } = rig();
        let runs = 0;
        app.post("/", protect, (_, __, next) => next(Object.assign(new Error(), { runs: ++runs })));
        app.use(((error, _, res, __) => void res.status(200).json({ failed: (error as { runs: number }).runs })) as ErrorRequestHandler);
        const server = await listen(t, app);
        assert.equal((await server.ask({ key: "k" })).text, '{"failed":1}');
        assert.equal((await server.ask({ key: "k" })).replayed, true);
      });

      test("a refusal forgets the key: another payload may use it", async (t) => {
        const { app, protect } = rig();
        app.post("/", protect, express.json(), (req, res) => void res.status(req.body.ok ? 201 : 422).json(req.body));
        const server = await listen(t, app);
        const json = { "content-type": "application/json" };
        assert.equal((await server.ask({ key: "k", body: '{"ok":false}', headers: json })).status, 422);
        assert.equal((await server.ask({ key: "k", body: '{"ok":true}', headers: json })).status, 201);
      });

      test("the key is free before the client has its refusal", async (t) => {
        const { app, protect, store } = rig();
        app.post("/", protect, (_, res) => {
          store.next = ["held"];
          res.status(400).json({});
        });
        const server = await listen(t, app);
        let out = false;
        const asked = server.ask({ key: "k" }).then(() => (out = true));
        await store.done(1);
        await server.ask({ method: "GET", path: "/nothing", alone: true });
        assert.equal(out, false);
        store.go();
        await asked;
      });

      test("after its answer has begun: the connection is closed, and it is not executed again", async (t) => {
        const { app, protect, store } = rig();
        let runs = 0;
        app.post("/", protect, (_, res) => {
          runs++;
          res.write("half of it");
          throw new Error("then this");
        });
        const server = await listen(t, app);
        await assert.rejects(server.ask({ key: "k" }));
        await store.done(2);
        assert.equal((await server.ask({ key: "k" })).code, "IDEMPOTENCY_OUTCOME_UNKNOWN");
        assert.equal(runs, 1);
      });

      test("after its answer has gone out as a stream", async (t) => {
        const { app, protect } = rig({ responseLimit: 4 });
        const on = signal();
        app.post("/", protect, (_, res, next) => {
          res.write("half of it");
          void on.happened.then(() => next(new Error("then this")));
        });
        const server = await listen(t, app);
        const sent = server.begin({ key: "k" });
        const [message] = (await once(sent, "response")) as [IncomingMessage];
        assert.equal(String((await once(message, "data"))[0]), "half of it");
        on.happen();
        const [error] = (await once(message, "error")) as [Error];
        assert.equal(error.message, "aborted");
        assert.equal((await server.ask({ key: "k" })).code, "IDEMPOTENCY_OUTCOME_UNKNOWN");
      });

      test("a source that breaks off destroys the answer, and nothing of it is replayed", async (t) => {
        const { app, protect, store } = rig();
        app.post("/", protect, (_, res) => {
          const source = new PassThrough();
          pipeline(source, res, () => undefined);
          source.write("half of it", () => source.destroy(new Error("broke off")));
        });
        const server = await listen(t, app);
        await assert.rejects(server.ask({ key: "k" }));
        await store.done(2);
        assert.equal((await server.ask({ key: "k" })).code, "IDEMPOTENCY_OUTCOME_UNKNOWN");
      });

      test("a response that is destroyed before it began", async (t) => {
        const { app, protect, store } = rig();
        app.post("/", protect, (_, res) => void res.destroy());
        const server = await listen(t, app);
        await assert.rejects(server.ask({ key: "k" }));
        await store.done(2);
        assert.equal((await server.ask({ key: "k" })).code, "IDEMPOTENCY_OUTCOME_UNKNOWN");
      });
    });

    suite("a client that goes away does not stop the handler", () => {
      /** Sends, goes away while the handler runs, lets it go on, and asks again. */
      const leaving = async (t: TestContext, handler: RequestHandler, before: RequestHandler[] = [], kept: unknown[] = []) => {
        const { app, protect, store } = rig();
        const running = signal();
        const left = signal();
        const on = signal();
        let runs = 0;
        app.post("/", protect, async (req, _, next) => {
          runs++;
          req.socket.once("close", () => setImmediate(left.happen));
          running.happen();
          await on.happened;
          next();
        }, ...before, handler);
        const server = await listen(t, app);
        const sent = server.begin({ key: "k", alone: true, body: '{"a":1}', headers: { "content-type": "application/json" } });
        sent.on("error", () => undefined);
        await running.happened;
        sent.destroy();
        await left.happened;
        on.happen();
        await store.done(2);
        kept.push(runs);
        return server.ask({ key: "k", body: '{"a":1}', headers: { "content-type": "application/json" } });
      };

      test("its answer is stored, and the retry gets it", async (t) => {
        const runs: unknown[] = [];
        const again = await leaving(t, (_, res) => void res.status(201).json({ made: 1 }), [], runs);
        assert.deepEqual([again.status, again.text, again.replayed, ...runs], [201, '{"made":1}', true, 1]);
      });

      test("its body can still be parsed", async (t) => {
        const again = await leaving(t, (req, res) => void res.json(req.body), [express.json()]);
        assert.deepEqual([again.text, again.replayed], ['{"a":1}', true]);
      });

      test("streams are read to their end", async (t) => {
        const piped = await leaving(t, (_, res) => void Readable.from(["a", "b", "c"]).pipe(res));
        assert.deepEqual([piped.text, piped.replayed], ["abc", true]);
        const pipelined = await leaving(t, (_, res) => void pipeline(Readable.from(["a", "b", "c"]), res, () => undefined));
        assert.deepEqual([pipelined.text, pipelined.replayed], ["abc", true]);
      });

      test("close is heard when its answer is stored", async (t) => {
        const { app, protect, store } = rig();
        const closed = signal<number>();
        const running = signal<IncomingMessage>();
        const on = signal();
        app.post("/", protect, async (req, res) => {
          res.on("close", () => closed.happen(store.swaps));
          running.happen(req);
          await on.happened;
          assert.equal(res.destroyed, false);
          res.end("a");
        });
        const server = await listen(t, app);
        const sent = server.begin({ key: "k", alone: true });
        sent.on("error", () => undefined);
        const gone = once((await running.happened).socket, "close");
        sent.destroy();
        await gone;
        on.happen();
        assert.equal(await closed.happened, 2);
        assert.equal((await server.ask({ key: "k" })).replayed, true);
      });

      test("a broken stream of an answer that has begun is not waited for", async (t) => {
        const { app, protect, store } = rig({ streamAfter: 30 });
        const running = signal();
        app.post("/", protect, (_, res) => {
          res.setHeader("Content-Length", "10");
          res.write("half");
          running.happen();
        });
        const server = await listen(t, app);
        const sent = server.begin({ key: "k", alone: true });
        sent.on("error", () => undefined);
        await running.happened;
        sent.destroy();
        await store.done(2);
        assert.equal((await server.ask({ key: "k" })).code, "IDEMPOTENCY_OUTCOME_UNKNOWN");
      });

      test("idle waits for it", async (t) => {
        const { app, protect } = rig();
        const running = signal();
        const on = signal();
        app.post("/", protect, async (_, res) => {
          running.happen();
          await on.happened;
          res.end("a");
        });
        const server = await listen(t, app);
        const asked = server.ask({ key: "k" });
        await running.happened;
        let idle = false;
        const waited = protect.idle().then(() => (idle = true));
        await server.ask({ method: "GET", path: "/nothing", alone: true });
        assert.equal(idle, false);
        on.happen();
        await asked;
        await waited;
      });
    });

    suite("the body of a request", () => {
      const JSON_TYPE = { "content-type": "application/json" };

      test("is there for parsers, and for those who read it themselves", async (t) => {
        const { app, protect } = rig();
        const answered = (res: ServerResponse) => (body: string) => void res.end(body);
        app.post("/json", protect, express.json(), (req, res) => void res.json(req.body));
        app.post("/form", protect, express.urlencoded({ extended: false }), (req, res) => void res.json(req.body));
        app.post("/text", protect, express.text(), (req, res) => void res.send(req.body));
        app.post("/raw", protect, express.raw({ type: "*/*" }), (req, res) => void res.send(req.body));
        app.post("/for-await", protect, async (req, res) => {
          let body = "";
          for await (const piece of req) body += String(piece);
          answered(res)(body);
        });
        app.post("/on-data", protect, (req, res) => {
          let body = "";
          req.setEncoding("utf8").on("data", (piece: string) => (body += piece)).on("end", () => answered(res)(body));
        });
        app.post("/pipe", protect, (req, res) => void req.pipe(res));
        app.post("/read", protect, (req, res) => {
          let body = "";
          req.on("readable", () => {
            for (let piece: unknown; (piece = req.read()) !== null; ) body += String(piece);
          });
          req.on("end", () => answered(res)(body));
        });
        app.post("/later", protect, (req, res) => {
          setImmediate(() => void new Response(Readable.toWeb(req) as ReadableStream).text().then(answered(res)));
        });
        const server = await listen(t, app);
        const long = JSON.stringify({ text: "x".repeat(90_000) });
        const ask = (path: string, body: string, type = "application/json", more: Record<string, string> = {}) =>
          server.ask({ path, key: path + body.length + Object.keys(more).join(""), body, headers: { "content-type": type, ...more } });
        for (const body of ['{"a":1}', long]) {
          assert.ok((await ask("/json", body)).text === body);
          assert.ok((await ask("/text", body, "text/plain")).text === body);
          for (const path of ["/raw", "/for-await", "/on-data", "/pipe", "/read", "/later"]) {
            assert.ok((await ask(path, body)).text === body, path);
          }
        }
        assert.equal((await ask("/form", "a=1&b=2", "application/x-www-form-urlencoded")).text, '{"a":"1","b":"2"}');
        const packed = { key: "gz", headers: { ...JSON_TYPE, "content-encoding": "gzip" }, body: gzipSync('{"z":1}') };
        assert.equal((await server.ask({ path: "/json", ...packed })).text, '{"z":1}');
        assert.equal((await server.ask({ path: "/json", ...packed })).replayed, true);
      });

      test("that was there before anybody asked for it, since who stands before took its time", async (t) => {
        const filled: RequestHandler = (req, res, next) => {
          const full = req.complete || req.readableLength >= req.readableHighWaterMark;
          if (full) next();
          else setImmediate(filled, req, res, next);
        };
        const { app, protect } = rig();
        app.post("/", filled, protect, express.json(), (req, res) => void res.json(req.body));
        const server = await listen(t, app);
        for (const body of ['{"a":1}', JSON.stringify(["x".repeat(99_000)])]) {
          const asked = { key: `k${body.length}`, body, headers: JSON_TYPE };
          assert.ok((await server.ask(asked)).text === body);
          assert.equal((await server.ask(asked)).replayed, true);
        }
      });

      test("in chunks, as it comes", async (t) => {
        const { app, protect } = rig();
        app.post("/", protect, express.json(), (req, res) => void res.json(req.body));
        const server = await listen(t, app);
        const head = "POST / HTTP/1.1\r\nHost: x\r\nIdempotency-Key: k\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n";
        const socket = await server.dial();
        socket.write(head);
        socket.write('4\r\n{"a"\r\n');
        await server.ask({ method: "GET", path: "/nothing" });
        socket.write("3\r\n:1}\r\n0\r\n\r\n");
        const text = String((await once(socket, "data"))[0]);
        assert.match(text, /^HTTP\/1\.1 200 [^]*\r\n\r\n\{"a":1\}$/);
      });

      test("that is empty, in every way", async (t) => {
        const { app, protect } = rig();
        let ends = 0;
        app.post("/", protect, (req, res) => {
          req.on("end", () => void res.json(++ends)).resume();
        });
        const server = await listen(t, app);
        assert.equal((await server.ask({ key: "none" })).text, "1");
        assert.equal((await server.ask({ key: "0", headers: { "content-length": "0" } })).text, "2");
        assert.equal((await server.ask({ key: "chunks", headers: { "transfer-encoding": "chunked" } })).text, "3");
        // They are the same request.
        assert.equal((await server.ask({ key: "chunks" })).replayed, true);
      });

      test("counts byte by byte, also where it is no text", async (t) => {
        const { app, protect } = rig();
        app.post("/", protect, (_, res) => void res.json(1));
        const server = await listen(t, app);
        const ask = (...bytes: number[]) => server.ask({ key: "k", body: Uint8Array.from(bytes) });
        assert.equal((await ask(0xff, 0x80)).status, 200);
        assert.equal((await ask(0xfe, 0x80)).code, "IDEMPOTENCY_KEY_CONFLICT");
        assert.equal((await ask(0xff, 0x80)).replayed, true);
      });

      test("that a handler changes is the same request for a retry", async (t) => {
        const { app, protect } = rig();
        app.post("/", protect, express.json(), (req, res) => {
          delete req.body.a;
          req.body.b = Math.random();
          res.json(req.body);
        });
        const server = await listen(t, app);
        const first = await server.ask({ key: "k", body: '{"a":1}', headers: JSON_TYPE });
        const again = await server.ask({ key: "k", body: '{ "a": 1.0 }', headers: JSON_TYPE });
        assert.deepEqual([again.replayed, again.text], [true, first.text]);
      });

      test("over the limit is refused, and the connection goes on", async (t) => {
        const { app, protect } = rig({ bodyLimit: 100_000 });
        let runs = 0;
        app.post("/", protect, (_, res) => void res.json(++runs));
        const server = await listen(t, app);
        const local = async (asked: Parameters<Loopback["begin"]>[0]) => {
          const sent = server.begin(asked);
          const [socket] = (await once(sent, "socket")) as [{ localPort: number }];
          return [await answer(sent), socket] as const;
        };
        const long = Buffer.alloc(1_000_000);
        const [told, first] = await local({ key: "k", body: long });
        assert.deepEqual([told.status, told.code], [413, "IDEMPOTENCY_BODY_TOO_LARGE"]);
        const [chunked, second] = await local({ key: "k", body: long, headers: { "transfer-encoding": "chunked", "content-length": [] } });
        assert.equal(chunked.status, 413);
        const [fits, third] = await local({ key: "k", body: Buffer.alloc(100_000) });
        assert.deepEqual([fits.status, runs], [200, 1]);
        assert.ok(first === second && second === third);
      });

      test("that breaks off claims nothing, and nothing is executed", async (t) => {
        const { app, protect, store } = rig();
        let runs = 0;
        app.post("/", protect, (_, res) => void res.json(++runs));
        const server = await listen(t, app);
        const socket = await server.dial();
        const arrived = once(server.server, "request") as Promise<[IncomingMessage]>;
        socket.write("POST / HTTP/1.1\r\nHost: x\r\nIdempotency-Key: k\r\nContent-Length: 10\r\n\r\nhalf");
        const closed = signal();
        (await arrived)[0].socket.on("close", () => closed.happen());
        socket.destroy();
        await closed.happened;
        assert.equal((await server.ask({ key: "k", body: "1234567890" })).text, "1");
        assert.equal(store.asked.filter(({ expect }) => expect === "vacant").length, 1);
      });

      test("that is asked for by Expect: 100-continue", async (t) => {
        const { app, protect } = rig();
        app.post("/", protect, express.json(), (req, res) => void res.json(req.body));
        const server = await listen(t, app);
        for (const replayed of [false, true]) {
          const socket = await server.dial();
          socket.write("POST / HTTP/1.1\r\nHost: x\r\nIdempotency-Key: k\r\nContent-Type: application/json\r\nContent-Length: 7\r\nExpect: 100-continue\r\n\r\n");
          assert.equal(String((await once(socket, "data"))[0]), "HTTP/1.1 100 Continue\r\n\r\n");
          socket.write('{"a":1}');
          const text = String((await once(socket, "data"))[0]);
          assert.match(text, /\r\n\r\n\{"a":1\}$/);
          assert.equal(text.includes("idempotent-replayed: true"), replayed);
        }
      });

      suite("that was parsed before", () => {
        const parsed = async (t: TestContext, parser: RequestHandler, options: Partial<ExpressOptions> = {}) => {
          const { app, protect, errors } = rig(options);
          app.post("/", parser, protect, (req, res) => void res.json(req.body ?? null));
          const server = await listen(t, app);
          const ask = (body: string, type = "application/json") => server.ask({ key: "k", body, headers: { "content-type": type } });
          return { ask, errors, server };
        };

        test("is refused loudly", async (t) => {
          const { ask, errors } = await parsed(t, express.json());
          const refused = await ask('{"a":1}');
          assert.deepEqual([refused.status, refused.code], [500, "IDEMPOTENCY_BODY_CONSUMED"]);
          assert.equal((errors[0] as { code: string }).code, "BODY_CONSUMED");
        });

        test("counts by the bytes that the application kept", async (t) => {
          const keep = express.json({ verify: (req, _, bytes) => void ((req as { rawBody?: Buffer }).rawBody = bytes) });
          const { ask } = await parsed(t, keep);
          assert.equal((await ask('{"a":1}')).text, '{"a":1}');
          assert.equal((await ask('{"a": 1}')).replayed, true);
          assert.equal((await ask('{"a":9007199254740993}')).code, "IDEMPOTENCY_KEY_CONFLICT");
        });

        test("counts by its bytes behind express.raw", async (t) => {
          const { ask } = await parsed(t, express.raw({ type: "*/*" }));
          assert.equal((await ask("a", "text/plain")).status, 200);
          assert.equal((await ask("a", "text/plain")).replayed, true);
          assert.equal((await ask("b", "text/plain")).code, "IDEMPOTENCY_KEY_CONFLICT");
        });

        test("counts by its value where that is asked for by name", async (t) => {
          const { ask, server } = await parsed(t, express.json(), { parsed: true });
          assert.equal((await ask('{"a":1}')).text, '{"a":1}');
          assert.equal((await ask('{ "a": 1 }')).replayed, true);
          assert.equal((await ask('{"a":2}')).code, "IDEMPOTENCY_KEY_CONFLICT");
          assert.equal((await server.ask({ key: "other", body: "x", headers: { "content-type": "text/plain" } })).status, 200);
        });

        test("and had nothing in it is like any that has not", async (t) => {
          const { server } = await parsed(t, (req, _, next) => void req.resume().on("end", next));
          assert.equal((await server.ask({ key: "k" })).text, "null");
          assert.equal((await server.ask({ key: "k" })).replayed, true);
        });
      });

      test("that somebody outside listens to is heard by those behind, too", async (t) => {
        const { app, protect } = rig();
        let heard = "";
        app.use((req, _, next) => {
          req.on("data", (piece) => (heard += String(piece)));
          next();
        });
        app.post("/", protect, express.json(), (req, res) => void res.json(req.body));
        const server = await listen(t, app);
        assert.equal((await server.ask({ key: "k", body: '{"a":1}', headers: JSON_TYPE })).text, '{"a":1}');
        assert.equal(heard, '{"a":1}');
      });
    });

    suite("a store that fails", () => {
      test("on begin: 503, and nothing is executed", async (t) => {
        const { app, protect, store } = rig();
        let runs = 0;
        app.post("/", protect, (_, res) => void res.json(++runs));
        const server = await listen(t, app);
        store.always = "lost";
        const refused = await server.ask({ key: "k" });
        assert.deepEqual([refused.status, refused.code, runs], [503, "IDEMPOTENCY_STORE_UNAVAILABLE", 0]);
        store.always = "done";
        assert.equal((await server.ask({ key: "k" })).text, "1");
      });

      test("on begin, where it was asked for by name: it is executed without protection", async (t) => {
        const { app, protect, store } = rig({ failOpen: true });
        app.post("/", protect, express.json(), (req, res) => void res.json([req.body, req.idempotency === undefined]));
        const server = await listen(t, app);
        store.always = "lost";
        const open = await server.ask({ key: "k", body: "{}", headers: { "content-type": "application/json" } });
        assert.equal(open.text, "[{},true]");
      });

      test("on finish: the client has its answer, and nothing is executed again", async (t) => {
        const { app, protect, store } = rig();
        let runs = 0;
        app.post("/", protect, (_, res) => {
          store.always = "lost";
          res.json(++runs);
        });
        const server = await listen(t, app);
        assert.equal((await server.ask({ key: "k" })).text, "1");
        store.always = "done";
        const again = await server.ask({ key: "k" });
        assert.ok(again.replayed || again.code === "IDEMPOTENCY_IN_PROGRESS");
        await protect.idle();
        assert.equal((await server.ask({ key: "k" })).replayed, true);
        assert.equal(runs, 1);
      });
    });

    suite("an owner that is late", () => {
      /** The first of two whose lease lapses while it is at work. */
      const overtaken = async (t: TestContext, late: RequestHandler) => {
        const { app, protect } = rig({}, { lease: 30, ceiling: 30 });
        const first = signal();
        const on = signal();
        let runs = 0;
        app.post(
          "/",
          (_, res, next) => {
            res.setHeader("X-Outside", "1");
            next();
          },
          protect,
          async (req, res, next) => {
            if (++runs === 2) return void res.status(201).json({ by: req.idempotency?.attempt });
            res.setHeader("X-Late", "1");
            res.setHeader("Location", "/late");
            first.happen();
            await on.happened;
            return late(req, res, next);
          },
        );
        const server = await listen(t, app);
        const lateAnswer = server.ask({ key: "k" });
        await first.happened;
        let winner: Answered;
        do winner = await server.ask({ key: "k", alone: true });
        while (winner.code === "IDEMPOTENCY_IN_PROGRESS");
        assert.equal(winner.text, '{"by":2}');
        on.happen();
        const answered = await lateAnswer;
        assert.deepEqual([answered.status, answered.text, answered.replayed], [201, '{"by":2}', true]);
        assert.deepEqual([answered.headers["x-late"], answered.headers.location], [undefined, undefined]);
        assert.equal(answered.headers["x-outside"], "1");
        assert.equal(runs, 2);
      };

      test("answers what the winner stored", (t) => overtaken(t, (_, res) => void res.status(200).json({ by: "late" })));

      test("answers so where it would have streamed", (t) =>
        overtaken(t, (_, res) => {
          res.setHeader("Content-Type", "text/event-stream");
          res.write("data: late\n\n");
          setImmediate(() => {
            res.write("data: late\n\n");
            res.end();
          });
        }));
    });

    test("of many at once with one key, one is executed", async (t) => {
      const { app, protect } = rig();
      const on = signal();
      let runs = 0;
      app.post("/", protect, async (_, res) => {
        runs++;
        await on.happened;
        res.json(1);
      });
      const server = await listen(t, app);
      let refused = 0;
      const asked = Array.from({ length: 8 }, async () => {
        const { status } = await server.ask({ key: "k", alone: true });
        if (status === 409 && ++refused === 7) on.happen();
        return status;
      });
      const codes = (await Promise.all(asked)).sort();
      assert.deepEqual(codes, [200, 409, 409, 409, 409, 409, 409, 409]);
      assert.equal(runs, 1);
    });

    test("without a key, or with another method, the handler is untouched and streams", async (t) => {
      const { app, protect, store } = rig();
      app.use(protect, (req, res) => void req.pipe(createGzip()).pipe(res));
      const server = await listen(t, app);
      assert.equal(gunzipSync((await server.ask({ body: "a" })).body).toString(), "a");
      assert.equal(gunzipSync((await server.ask({ method: "PUT", key: "k", body: "a" })).body).toString(), "a");
      assert.equal(store.swaps, 0);
    });

    test("a key that is missing, malformed or sent twice is refused", async (t) => {
      const { app, protect } = rig({ required: true });
      app.post("/", protect, (_, res) => void res.json(1));
      const server = await listen(t, app);
      assert.equal((await server.ask()).code, "IDEMPOTENCY_KEY_MISSING");
      assert.equal((await server.ask({ key: "a, b" })).code, "IDEMPOTENCY_KEY_INVALID");
      const twice = await server.ask({ headers: { "idempotency-key": ["a", "a"], "x-request-id": "req_7" } });
      assert.deepEqual([twice.code, twice.headers["x-request-id"]], ["IDEMPOTENCY_KEY_INVALID", "req_7"]);
    });
  });
}
