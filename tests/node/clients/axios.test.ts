// `axios` with axios-retry: an interceptor makes the key, and it says which errors are retried.
import { randomUUID } from "node:crypto";
import { test } from "node:test";
import axios from "axios";
import axiosRetry from "axios-retry";
import type { Sale } from "./shop.js";
import { PATIENCE, RETRIES, spree } from "./spree.js";

test("what `axios` creates is created once, whatever becomes of the replies", async (t) => {
  await spree(t, ({ host, port }) => {
    const client = axios.create({ baseURL: `http://${host}:${port}`, timeout: PATIENCE });
    client.interceptors.request.use((config) => {
      // It runs before each retry, too: `false` keeps what is there.
      config.headers.set("Idempotency-Key", randomUUID(), false);
      return config;
    });
    const again = new Set([409, 429, 502, 503, 504]); // 409: the first one is still at work
    axiosRetry(client, {
      retries: RETRIES,
      // An error with a good status is an answer whose body broke off.
      retryCondition: ({ response }) => !response || response.status < 400 || again.has(response.status),
      retryDelay: (count, error) => axiosRetry.exponentialDelay(Math.min(count, 2), error, 10),
      shouldResetTimeout: true,
    });
    return async (order) => (await client.post<Sale>("orders", { order })).data.id;
  });
});
