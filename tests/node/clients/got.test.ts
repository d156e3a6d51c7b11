// `got` retries no POST by itself, and makes no key: two options and a hook.
import { randomUUID } from "node:crypto";
import { test } from "node:test";
import got from "got";
import type { Sale } from "./shop.js";
import { PATIENCE, RETRIES, spree } from "./spree.js";

test("what `got` creates is created once, whatever becomes of the replies", async (t) => {
  await spree(t, ({ host, port }) => {
    const client = got.extend({
      prefixUrl: `http://${host}:${port}`,
      timeout: { request: PATIENCE },
      retry: {
        limit: RETRIES,
        methods: ["POST"],
        statusCodes: [409, 429, 502, 503, 504], // 409: the first one is still at work
        backoffLimit: 50,
        maxRetryAfter: 60_000, // without it a wait longer than the timeout is none
      },
      hooks: {
        // Before the first time only: got keeps the headers for its retries.
        init: [(_, self) => void (self.headers["idempotency-key"] = randomUUID())],
      },
    });
    return async (order) => (await client.post("orders", { json: { order } }).json<Sale>()).id;
  });
});
