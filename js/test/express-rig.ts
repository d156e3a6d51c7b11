import "../src/core/server.js";
import assert from "node:assert/strict";
import { suite, type TestContext } from "node:test";
import express5, { type Express, type RequestHandler } from "express";
// @ts-expect-error: it has no types of its own, and those of Express 5 fit what is used here.
import express4 from "express4";
import { idempotent, type ExpressOptions } from "../src/express/index.js";
import { createIdempotency, type IdempotencyOptions } from "../src/idempotency.js";
import { listen, type Answered } from "./loopback.js";
import { switchedStore } from "./switched-store.js";

type Make = typeof express5;

/** Tests for both versions of Express, each with what it takes to write them. */
export function onEachVersion(define: (kit: ReturnType<typeof kitOf>) => void): void {
  suite("Express 5", () => define(kitOf(express5)));
  suite("Express 4", () => define(kitOf(express4 as Make)));
}

function kitOf(express: Make) {
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

  /** Whether a handler's promise that rejects is its error. */
  const rejections = express === express5;
  return { express, rig, twice, replays, unstorable, rejections };
}
