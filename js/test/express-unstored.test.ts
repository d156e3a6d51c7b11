/** Answers behind the middleware for Express that cannot be stored. */
import assert from "node:assert/strict";
import { once } from "node:events";
import { ServerResponse, type IncomingMessage } from "node:http";
import { PassThrough, pipeline, Readable } from "node:stream";
import { suite, test } from "node:test";
import { onEachVersion } from "./express-rig.js";
import { listen, signal } from "./loopback.js";

onEachVersion(({ rig, replays, unstorable }) => {
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

    test("a long stream through somebody outside who has more room, and hears of drain in the place of the response", async (t) => {
      const { app, protect } = rig({ responseLimit: 1000 });
      // As `compression` does it.
      app.use((_, res, next) => {
        const { write, end, on } = res;
        const through = new PassThrough({ highWaterMark: 1 << 20 });
        through.on("data", (piece) => write.call(res, piece, "utf8"));
        through.on("end", () => end.call(res, undefined, "utf8"));
        res.write = ((piece: Buffer) => through.write(piece)) as typeof write;
        res.end = ((piece?: Buffer) => (through.end(piece), res)) as typeof end;
        res.on = ((event: string, heard: () => void) => (event === "drain" ? through : { on: on.bind(res) }).on(event, heard)) as typeof on;
        next();
      });
      const piece = Buffer.alloc(100_000, 7);
      app.post("/", protect, async (_, res) => {
        for (let left = 5; left > 0; left--) if (!res.write(piece)) await new Promise<void>((more) => res.once("drain", more));
        res.end();
      });
      const server = await listen(t, app);
      assert.equal((await server.ask({ key: "k" })).body.length, 500_000);
      assert.equal((await server.ask({ key: "k" })).code, "IDEMPOTENCY_OUTCOME_UNKNOWN");
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

    test("one that goes out past the middleware, as in an application of another copy of Express that is called", async (t) => {
      const { app, protect, store } = rig({ maxOwners: 1 });
      app.post("/", protect, (_, res) => {
        Object.setPrototypeOf(res, ServerResponse.prototype);
        res.end("a");
      });
      const server = await listen(t, app);
      assert.equal((await server.ask({ key: "k" })).text, "a");
      await store.done(2);
      assert.equal((await server.ask({ key: "k" })).code, "IDEMPOTENCY_OUTCOME_UNKNOWN");
      assert.equal((await server.ask({ key: "another" })).text, "a", "its place is free");
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
});
