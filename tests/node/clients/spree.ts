/** {@link spree}: orders many things through a proxy that loses replies, and counts what came of it. */
import assert from "node:assert/strict";
import type { TestContext } from "node:test";
import { NIGHTLY, dice } from "../dice.js";
import { LOSSES, lossyProxy, type Loss } from "./lossy-proxy.js";
import { shop } from "./shop.js";

/** How a client orders: hands back the id of what it was sold, however often it had to ask. */
export type Order = (order: string) => Promise<string>;

/** How many things each client orders. */
const ORDERS = NIGHTLY ? 5000 : 400;
/** How many at the same time. */
const AT_ONCE = 20;
/** So many of 1 replies are lost. */
const ODDS = 0.4;

/** How long a client waits for an answer, in milliseconds. Silence is one of the losses. */
export const PATIENCE = 1000;
/** How often a client asks again at most: nobody loses so many replies in a row. */
export const RETRIES = 60;

/** Each order is sold once, and its client ends with what it was sold; replies are lost in these ways. */
export async function spree(
  test: TestContext,
  client: (origin: { host: string; port: number }) => Order,
  losses: readonly Loss[] = LOSSES,
) {
  const chance = dice();
  const sold = await shop();
  const proxy = await lossyProxy(sold.port, chance, ODDS, losses);
  test.after(async () => {
    await proxy.close();
    await sold.close();
  });
  const order = client({ host: "127.0.0.1", port: proxy.port });
  const ids = new Map<string, string>();
  const failed: string[] = [];
  const waiting = Array.from({ length: ORDERS }, (_, number) => `order ${number}`);
  const buy = async () => {
    for (let name = waiting.pop(); name !== undefined; name = waiting.pop()) {
      try {
        ids.set(name, await order(name));
      } catch (error) {
        failed.push(`${name}: ${String(error)}`);
      }
    }
  };
  await Promise.all(Array.from({ length: AT_ONCE }, buy));

  const { requests, replies, lost } = proxy;
  const all = losses.reduce((sum, loss) => sum + lost[loss], 0);
  const how = losses.map((loss) => `${lost[loss]} ${loss}`).join(", ");
  test.diagnostic(
    `${ORDERS} orders, ${requests} requests, ${replies} replies came through, ${all} were lost (${how}); ` +
      `${sold.sales.length} executions, ${sold.replays} replays, ${sold.waits} told to wait; IDEMP_SEED=${chance.seed}`,
  );
  assert.deepEqual(failed, [], `every client ends with an answer (IDEMP_SEED=${chance.seed})`);
  const sales = sold.sales.map(({ id, order }) => [order, id] as const);
  assert.equal(sales.length, ORDERS, "each order is executed once");
  assert.deepEqual(new Map(sales), ids, "and its client has what it was sold");
  for (const loss of losses) assert.ok(lost[loss] > 0, `nothing was lost by: ${loss}`);
  assert.ok(requests >= ORDERS + all, "what was lost was asked for again");
}
