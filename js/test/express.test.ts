/** The middleware for Express, over real connections: what goes out, and what is replayed. */
import assert from "node:assert/strict";
import { AsyncLocalStorage } from "node:async_hooks";
import { createReadStream } from "node:fs";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import type { ServerResponse } from "node:http";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { pipeline } from "node:stream";
import { suite, test } from "node:test";
import { createGzip, gunzipSync, gzipSync } from "node:zlib";
import type { Express, RequestHandler } from "express";
import { idempotent } from "../src/express/index.js";
import { onEachVersion } from "./express-rig.js";
import { answer, listen, signal, type Answered } from "./loopback.js";

onEachVersion(({ express, rig, twice, replays }) => {
  suite("one inside of another, each with a scope of its own", () => {
    for (const [name, handler] of Object.entries<RequestHandler>({
      "a whole answer": (_, res) => void res.status(201).json({ id: 1 }),
      "pieces": (_, res) => {
        res.writeHead(201, { "content-type": "text/plain" });
        res.write("one, ");
        setImmediate(() => res.end("two"));
      },
      "a head that goes first": (_, res) => {
        res.flushHeaders();
        setImmediate(() => res.end("later"));
      },
    })) {
      test(`${name} is stored by both, goes out once, and is replayed`, async (t) => {
        const { app, idem, protect, store } = rig();
        let runs = 0;
        app.use(idempotent(idem, { scope: () => "outside" }));
        app.post("/", protect, (_, __, next) => void (runs++, next()), handler);
        const server = await listen(t, app);
        const first = await server.ask({ key: "k", body: "x" });
        const again = await server.ask({ key: "k", body: "x" });
        assert.deepEqual([again.status, again.text, again.replayed, runs], [first.status, first.text, true, 1]);
        assert.equal(store.inner.size, 2);
      });
    }

    test("of the same scope, it tells the application so, and not the client that somebody else is at work", async (t) => {
      const { app, idem, protect, errors } = rig();
      let runs = 0;
      app.use(idempotent(idem, { scope: () => "ada" }));
      app.post("/", protect, (_, res) => void res.json(++runs));
      const server = await listen(t, app);
      for (const time of ["first", "again"]) {
        const refused = await server.ask({ key: "k", body: "x" });
        assert.deepEqual([refused.status, refused.code, runs], [500, "IDEMPOTENCY_NESTED", 0], time);
      }
      assert.deepEqual(errors.map((error) => (error as { code: string }).code), ["NESTED", "NESTED"]);
      assert.match(String(errors[0]), /`scope`/, "with what to do");
    });

    test("an answer that breaks off is unknown in both", async (t) => {
      const { app, idem, protect } = rig();
      app.use(idempotent(idem, { scope: () => "outside" }));
      app.post("/", protect, (_, res) => {
        res.write("a part");
        res.destroy();
      });
      const server = await listen(t, app);
      await assert.rejects(server.ask({ key: "k", body: "x" }));
      assert.equal((await server.ask({ key: "k", body: "x" })).code, "IDEMPOTENCY_OUTCOME_UNKNOWN");
    });
  });

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

    test("bytes beyond ASCII in a header are the same on a replay, whatever the body is", async (t) => {
      for (const body of ["plain", "grüße", "ü".repeat(20_000), Buffer.from("bytes")]) {
        const { first, again } = await twice(t, (_, res) => {
          res.setHeader("Link", "</caf\u00e9>; rel=next");
          res.end(body);
        });
        assert.equal(again.replayed, true);
        assert.equal(first.headers.link, "</caf\u00e9>; rel=next");
        assert.deepEqual([again.headers.link, again.body], [first.headers.link, first.body]);
      }
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

    test("requests that come at the same moment keep what belongs to each", async (t) => {
      const { app, protect } = rig();
      const asked = new AsyncLocalStorage<string>();
      const seen: unknown[] = [];
      app.use((req, _, next) => asked.run(req.get("idempotency-key")!, next));
      app.post("/", protect, (req, res) => {
        seen.push([asked.getStore(), req.get("idempotency-key")]);
        res.end();
      });
      // More than are taken on together.
      const keys = Array.from({ length: 40 }, (_, number) => `key-${number}`);
      const server = await listen(t, app);
      assert.deepEqual(await server.pipelined(keys), keys.map(() => 200));
      assert.deepEqual(seen, keys.map((key) => [key, key]));
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

    test("an application that is called further in, and not mounted", async (t) => {
      const { app, protect } = rig();
      const inner: Express = express();
      let runs = 0;
      inner.post("/", (_, res) => void res.status(201).json(++runs));
      // As `vhost` does it.
      app.use(protect, (req, res, next) => inner(req, res, next));
      const server = await listen(t, app);
      assert.equal((await server.ask({ key: "k" })).text, "1");
      const again = await server.ask({ key: "k" });
      assert.deepEqual([again.text, again.replayed], ["1", true]);
    });

    test("through an application that has an `end` of its own for all its responses", async (t) => {
      const { app, protect } = rig();
      const { end } = app.response;
      const bodies: string[] = [];
      app.response.end = function (this: ServerResponse, ...given: [unknown, BufferEncoding]) {
        bodies.push(String(given[0]));
        return end.apply(this, given);
      } as typeof end;
      app.post("/", protect, (_, res) => void res.json(1));
      const server = await listen(t, app);
      assert.equal((await server.ask({ key: "k" })).replayed, false);
      assert.equal((await server.ask({ key: "k" })).replayed, true);
      assert.deepEqual(bodies, ["1", "1"]);
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

    test("what is written after the end, where nobody listens for errors, does not end the process", async (t) => {
      const { app, protect, store } = rig();
      const told = signal<NodeJS.ErrnoException>();
      app.post("/", protect, (_, res) => {
        store.always = "held";
        res.end("a");
        // Without the middleware it would be out by now, and the callback alone would be told.
        setImmediate(() => res.write("b", (error) => told.happen(error as NodeJS.ErrnoException)));
      });
      const server = await listen(t, app);
      const asked = server.ask({ key: "k" });
      assert.equal((await told.happened).code, "ERR_STREAM_WRITE_AFTER_END");
      await new Promise(setImmediate);
      store.go();
      assert.equal((await asked).text, "a");
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

  test("requests that are sent one behind the other without waiting are answered in their order", async (t) => {
    const { app, protect } = rig();
    const on = signal();
    app.post("/first", protect, async (_, res) => {
      await on.happened;
      res.end("first");
    });
    app.post("/second", protect, (_, res) => {
      res.end("second");
      on.happen();
    });
    const server = await listen(t, app);
    const socket = await server.dial();
    const head = (path: string) => `POST ${path} HTTP/1.1\r\nHost: x\r\nIdempotency-Key: k${path.length}\r\nContent-Length: 0\r\n`;
    socket.write(`${head("/first")}\r\n${head("/second")}Connection: close\r\n\r\n`);
    let text = "";
    for await (const piece of socket) text += String(piece);
    assert.match(text, /^HTTP\/1\.1 200 [^]*\r\n\r\nfirstHTTP\/1\.1 200 [^]*\r\n\r\nsecond$/);
  });
});
