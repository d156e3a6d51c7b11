/** The body of a request, in front of the middleware for Express and behind it. */
import assert from "node:assert/strict";
import { once } from "node:events";
import { IncomingMessage, ServerResponse, type RequestListener } from "node:http";
import { connect, createServer } from "node:http2";
import type { AddressInfo, Socket } from "node:net";
import { PassThrough, Readable } from "node:stream";
import { suite, test, type TestContext } from "node:test";
import { gzipSync } from "node:zlib";
import type { RequestHandler } from "express";
import type { ExpressOptions } from "../src/express/index.js";
import { readBody } from "../src/node/request-body.js";
import { onEachVersion } from "./express-rig.js";
import { answer, listen, signal, type Loopback } from "./loopback.js";

onEachVersion(({ express, rig }) => {
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

      test("is refused though its value is asked for, where that is without the files", async (t) => {
        const uploads: RequestHandler = (req, _, next) => {
          req.body = { title: "a form" };
          req.resume().on("end", next);
        };
        const { ask } = await parsed(t, uploads, { parsed: true });
        const form = (file: string) => `--b\r\ncontent-disposition: form-data; name=file; filename=f\r\n\r\n${file}\r\n--b--`;
        for (const file of ["one", "two"]) {
          assert.equal((await ask(form(file), "multipart/form-data; boundary=b")).code, "IDEMPOTENCY_BODY_CONSUMED");
        }
      });

      test("is refused though its value is asked for, where that has no JSON form", async (t) => {
        const big: RequestHandler = (req, _, next) => {
          req.body = { amount: 9007199254740993n };
          req.resume().on("end", next);
        };
        const { ask, errors } = await parsed(t, big, { parsed: true });
        const refused = await ask('{"amount":9007199254740993}');
        assert.deepEqual([refused.status, refused.code], [500, "IDEMPOTENCY_BODY_CONSUMED"]);
        assert.equal((errors[0] as { code: string }).code, "BODY_CONSUMED");
      });

      test("and had nothing in it is like any that has not", async (t) => {
        const { server } = await parsed(t, (req, _, next) => void req.resume().on("end", next));
        assert.equal((await server.ask({ key: "k" })).text, "null");
        assert.equal((await server.ask({ key: "k" })).replayed, true);
      });
    });

    test("that came over no connection, as to a function in a cloud, counts, and so does its key", async () => {
      for (const kept of [false, true]) {
        const { app, protect } = rig();
        let runs = 0;
        app.post("/", protect, express.json(), (req, res) => {
          const { body } = req as { body?: unknown };
          res.end(`run ${++runs}: ${body instanceof Uint8Array ? String(body) : JSON.stringify(body ?? null)}`);
        });
        const ask = (key: string, body: string) => invoked(app, { ...JSON_TYPE, "idempotency-key": key }, body, kept);
        for (const replay of [false, true]) {
          const text = await ask("k", '{"a":1}');
          assert.match(text, /\r\n\r\nrun 1: \{"a":1\}$/);
          assert.equal(text.includes("idempotent-replayed: true"), replay);
          assert.match(await ask("empty", ""), /run 2: (null|\{\})$/);
        }
        assert.match(await ask("k", '{"a":2}'), /IDEMPOTENCY_KEY_CONFLICT/);
      }
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
});

/** Hands the application a request that is made of an event, without the lines of its head, as the adapters
 *  of functions in a cloud do: its body is pushed where it is asked for, and may be there as `body`. What
 *  was written as the answer. */
async function invoked(app: RequestListener, headers: Record<string, string>, body: string, kept: boolean): Promise<string> {
  const req = new IncomingMessage(new PassThrough() as unknown as Socket);
  const bytes = Buffer.from(body);
  const length = body ? { "content-length": String(bytes.length) } : {};
  Object.assign(req, { method: "POST", url: "/", httpVersion: "1.1", complete: true, headers: { ...headers, ...length } });
  if (kept && body) Object.assign(req, { body: bytes });
  req._read = () => {
    req.push(bytes);
    req.push(null);
  };
  const res = new ServerResponse(req);
  const written = new PassThrough();
  res.assignSocket(written as unknown as Socket);
  app(req, res);
  await once(res, "finish");
  return String(written.read());
}

test("a body over HTTP/2 that somebody has read is not taken for an empty one", async (t) => {
  const told: unknown[] = [];
  const server = createServer((req, res) => {
    const message = req as unknown as IncomingMessage;
    const tell = () => {
      const body = readBody(message, 100);
      told.push(body instanceof Uint8Array ? body.length : body);
      res.end();
    };
    req.resume().on("end", tell);
  });
  await once(server.listen(0, "127.0.0.1"), "listening");
  const client = connect(`http://127.0.0.1:${(server.address() as AddressInfo).port}`);
  t.after(() => {
    client.close();
    server.close();
  });
  for (const body of ["a payment", ""]) {
    const sent = client.request({ ":method": "POST", ":path": "/" });
    sent.end(body);
    sent.resume();
    await once(sent, "close");
  }
  assert.deepEqual(told, ["consumed", 0]);
});
