// `ky` retries no POST by itself, makes no key, and does not retry a body that breaks off.
import { randomUUID } from "node:crypto";
import { test } from "node:test";
import ky from "ky";
import type { Sale } from "./shop.js";
import { PATIENCE, RETRIES, spree } from "./spree.js";

test("what `ky` creates is created once, whatever becomes of the replies", async (t) => {
  await spree(t, ({ host, port }) => {
    const client = ky.create({
      prefixUrl: `http://${host}:${port}`,
      timeout: PATIENCE,
      retry: {
        limit: RETRIES,
        methods: ["post"],
        statusCodes: [409, 429, 502, 503, 504], // 409: the first one is still at work
        afterStatusCodes: [409, 429, 503], // with `Retry-After`
        backoffLimit: 50,
        retryOnTimeout: true,
      },
      hooks: {
        beforeRequest: [
          ({ headers }) => {
            // It runs before each retry, too: with the headers of the first time.
            if (!headers.has("idempotency-key")) headers.set("idempotency-key", randomUUID());
          },
        ],
        // Read here, a body that breaks off is one more reason to retry.
        afterResponse: [async (_request, _options, response) => void (await response.arrayBuffer())],
      },
    });
    return async (order) => (await client.post("orders", { json: { order } }).json<Sale>()).id;
  });
});
