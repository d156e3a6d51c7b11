/** `node express-app.ts NAME`: one app of those that are compared, on a free port, which it prints.
 *  Each parses 1 KB of JSON and answers with 201; what is named stands in between. */
import type { AddressInfo } from "node:net";
import { Idempotency, type IdempotencyResponse } from "@node-idempotency/core";
import { MemoryStorageAdapter } from "@node-idempotency/storage-adapter-memory";
import express, { type RequestHandler } from "express";
import { getSharedIdempotencyService, idempotency } from "express-idempotency";
import { createIdempotency } from "idemp";
import { idempotent } from "idemp/express";
import { memoryStore } from "idemp/memory";
import { ANSWER } from "./request.js";
import { answer } from "./rival.js";

const parse = express.json();

const createOrder: RequestHandler = (_req, res) => {
  res.status(201).json(ANSWER);
};

const apps: Record<string, () => RequestHandler[]> = {
  bare: () => [parse, createOrder],

  // The store is as large as the requests of all rounds are many.
  idemp() {
    const idem = createIdempotency({ store: memoryStore({ capacity: 1_000_000 }) });
    return [idempotent(idem, { scope: () => "user-1" }), parse, createOrder];
  },

  /** Its README has no middleware, and says what one is made of. */
  "@node-idempotency/core"() {
    const idempotency = new Idempotency(new MemoryStorageAdapter());
    const middleware: RequestHandler = async (req, res, next) => {
      const asked = { method: req.method, headers: req.headers, body: req.body, path: req.path };
      let stored: IdempotencyResponse | undefined;
      try {
        stored = await idempotency.onRequest(asked);
      } catch (error) {
        return next(error);
      }
      if (stored) {
        res.status((stored.additional as { status: number }).status).send(stored.body);
        return;
      }
      const send = res.send.bind(res);
      res.send = (body: unknown) => {
        res.send = send;
        const additional = { status: res.statusCode };
        idempotency.onResponse(asked, { body, additional } as IdempotencyResponse).then(() => send(body), next);
        return res;
      };
      next();
    };
    return [parse, middleware, createOrder];
  },

  /** By its README: the handler asks whether it was a hit. Its own store in memory is searched from end
   *  to end for each request, so it gets one that is not. */
  "express-idempotency"() {
    const resources = new Map<string, { idempotencyKey: string }>();
    const dataAdapter = {
      findByIdempotencyKey: async (key: string) => resources.get(key) ?? null,
      create: async (resource: { idempotencyKey: string }) => void resources.set(resource.idempotencyKey, resource),
      update: async (resource: { idempotencyKey: string }) => void resources.set(resource.idempotencyKey, resource),
      delete: async (key: string) => void resources.delete(key),
    };
    const unlessHit: RequestHandler = (req, res, next) => {
      if (!getSharedIdempotencyService().isHit(req)) createOrder(req, res, next);
    };
    return [parse, idempotency({ dataAdapter } as never), unlessHit];
  },
};

const app = express();
app.post("/orders", ...apps[process.argv[2]!]!());
const server = app.listen(0, "127.0.0.1", () => {
  // Asked, it says how much time it has had of the processor, in microseconds.
  answer((server.address() as AddressInfo).port, () => {
    const { user, system } = process.cpuUsage();
    return user + system;
  });
});
