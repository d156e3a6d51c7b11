/** Handlers, clients and stores that fail, and owners that are late, behind the middleware for Express. */
import assert from "node:assert/strict";
import { once } from "node:events";
import type { IncomingMessage } from "node:http";
import { PassThrough, pipeline, Readable } from "node:stream";
import { fileURLToPath } from "node:url";
import { suite, test, type TestContext } from "node:test";
import type { ErrorRequestHandler, Express, RequestHandler } from "express";
import { onEachVersion } from "./express-rig.js";
import { listen, signal, type Answered } from "./loopback.js";
import { stall } from "./stall.js";

onEachVersion(({ express, rig, twice, rejections }) => {
  suite("somebody outside who answers while the claim is asked", () => {
    const answeredMeanwhile = async (t: TestContext, outside: RequestHandler) => {
      const { app, protect, store } = rig({ maxOwners: 1 });
      let runs = 0;
      const begun = signal<Parameters<RequestHandler>>();
      app.use((req, res, next) => {
        if (store.swaps === 0) begun.happen([req, res, next]);
        next();
      });
      app.post("/", protect, (_, res) => void res.end(`run ${++runs}`));
      const server = await listen(t, app);
      store.next = ["held"];
      const asked = server.ask({ key: "k", alone: true }).catch(() => undefined);
      const [req, res, next] = await begun.happened;
      while (store.swaps === 0) await new Promise(setImmediate);
      outside(req, res, next);
      await new Promise(setImmediate);
      store.go();
      const answer = await asked;
      await protect.idle();
      assert.equal(runs, 0, "nobody waits for it");
      assert.equal((await server.ask({ key: "k" })).text, "run 1", "its retry is executed");
      return answer;
    };

    test("with a whole answer: that one is the client's", async (t) => {
      const answer = await answeredMeanwhile(t, (_, res) => void res.status(503).end("late"));
      assert.equal(answer?.text, "late");
    });

    test("with a part of one: it breaks off", async (t) => {
      assert.equal(await answeredMeanwhile(t, (_, res) => void res.write("a part")), undefined);
    });
  });

  test("behind a handler that keeps the thread for longer than a lease, nothing is executed late", async (t) => {
    const { app, protect, store } = rig({}, { lease: "90ms" });
    const executed: string[] = [];
    app.post("/", protect, (req, res) => {
      executed.push(req.get("idempotency-key")!);
      stall(120);
      res.status(201).end();
    });
    const server = await listen(t, app);
    const statuses = await server.pipelined(["first", "second"]);
    assert.deepEqual([statuses, executed], [[201, 503], ["first"]]);
    await protect.idle();
    assert.equal((await server.ask({ key: "second" })).status, 201, "the claim was given back");
    assert.equal(store.swaps, 6);
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

    if (rejections) {
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

    test("of an application within another one, where the error handler of the outer one answers", async (t) => {
      const { app, protect } = rig();
      const inner: Express = express();
      let runs = 0;
      inner.post("/", protect, (_, __, next) => next(new Error(String(++runs))));
      app.use(inner);
      app.use(((_, __, res, ___) => void res.status(202).json({ runs })) as ErrorRequestHandler);
      const server = await listen(t, app);
      assert.equal((await server.ask({ key: "k" })).text, '{"runs":1}');
      const again = await server.ask({ key: "k" });
      assert.deepEqual([again.status, again.text, again.replayed], [202, '{"runs":1}', true]);
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

    test("its body can still be parsed in an application that is called further in", async (t) => {
      const inner: Express = express();
      inner.post("/", express.json(), (req, res) => void res.json(req.body));
      const again = await leaving(t, (req, res, next) => inner(req, res, next));
      assert.deepEqual([again.text, again.replayed], ['{"a":1}', true]);
    });

    test("streams are read to their end", async (t) => {
      const piped = await leaving(t, (_, res) => void Readable.from(["a", "b", "c"]).pipe(res));
      assert.deepEqual([piped.text, piped.replayed], ["abc", true]);
      const file = fileURLToPath(import.meta.url);
      const sent = await leaving(t, (_, res) => res.sendFile(file));
      assert.ok(sent.replayed && sent.text.startsWith("/**"));
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

    test("a handler that never answers holds its key until the lease reaches its ceiling", async (t) => {
      const { app, protect } = rig({}, { lease: 40, ceiling: 120 });
      const running = signal();
      let runs = 0;
      app.post("/", protect, (req, res) => {
        if (++runs > 1) return void res.json({ attempt: req.idempotency?.attempt });
        running.happen();
      });
      const server = await listen(t, app);
      const sent = server.begin({ key: "k", alone: true });
      sent.on("error", () => undefined);
      await running.happened;
      sent.destroy();
      const began = performance.now();
      let next: Answered;
      do next = await server.ask({ key: "k" });
      while (next.code === "IDEMPOTENCY_IN_PROGRESS");
      assert.equal(next.text, '{"attempt":2}');
      // Longer than a lease that nobody renews.
      assert.ok(performance.now() - began > 60);
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
});
