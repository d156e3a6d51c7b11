// The client of this package: an intent keeps its key, and whoever asks again goes on with it.
import { test } from "node:test";
import { createClient } from "idemp/fetch";
import { memoryStore } from "idemp/memory";
import type { Sale } from "./shop.js";
import { PATIENCE, RETRIES, spree } from "./spree.js";

test("what `idemp/fetch` creates is created once, whatever becomes of the replies", async (t) => {
  await spree(t, ({ host, port }) => {
    const client = createClient({
      user: "somebody",
      store: memoryStore(),
      retry: { base: 20, cap: 50 },
      fetch: impatient,
    });
    const buy = (order: string) =>
      client.once<Sale>(["order", order], { order }, async (work) => {
        const body = JSON.stringify({ order });
        const headers = { "content-type": "application/json" };
        const answer = await work.fetch(`http://${host}:${port}/orders`, { method: "POST", headers, body });
        return (await answer.json()) as Sale;
      });
    return async (order) => {
      // A body that breaks off ends the work, and so do too many replies lost in a row: as if somebody
      // presses the button again.
      for (let again = RETRIES; again > 0; again--) {
        const sale = await buy(order).catch(() => undefined);
        if (sale) return sale.id;
      }
      return (await buy(order)).id;
    };
  });
});

/** The platform's, which loses patience: that is an error of the network, to be tried again. */
const impatient: typeof fetch = async (input, init) => {
  const patience = new AbortController();
  const timer = setTimeout(() => patience.abort(), PATIENCE);
  try {
    return await fetch(input, { ...init, signal: patience.signal });
  } catch (error) {
    throw patience.signal.aborted ? new TypeError("no answer came in time", { cause: error }) : error;
  } finally {
    clearTimeout(timer);
  }
};
