/** A shop that sells what must not be sold twice: an Express app with the middleware. */
import { randomUUID } from "node:crypto";
import { once } from "node:events";
import type { AddressInfo } from "node:net";
import { setTimeout as sleep } from "node:timers/promises";
import express from "express";
import { createIdempotency } from "idemp";
import { idempotent } from "idemp/express";
import { memoryStore } from "idemp/memory";

/** Something that was sold. */
export interface Sale {
  readonly id: string;
  /** What the client calls it. */
  readonly order: string;
  /** Under which key: two sales of one order under two keys are its client's mistake. */
  readonly key: string;
}

export interface Shop {
  readonly port: number;
  /** Every sale that was made. */
  readonly sales: readonly Sale[];
  /** Answers that were replays. */
  readonly replays: number;
  /** Answers that told to wait, since the first one was still at work. */
  readonly waits: number;
  close(): Promise<void>;
}

/**
 * Sells by `POST /orders`, and by `POST /v1/payment_intents` in the shape of Stripe.
 *
 * Its leases are short: a client that comes back while its order is at work is told to wait for what is
 * left of one.
 */
export async function shop(): Promise<Shop> {
  const idem = createIdempotency({ store: memoryStore(), lease: "1s" });
  const sales: Sale[] = [];
  let [replays, waits] = [0, 0];
  const sell = async (order: string, key: string | undefined): Promise<Sale> => {
    const sale = { id: `sale_${randomUUID()}`, order, key: key ?? "none" };
    sales.push(sale);
    // What a shop does, and what a client may not wait for. Some takes so long that a retry meets it.
    await sleep(sales.length % 10 === 0 ? 100 : 2);
    return sale;
  };
  const app = express();
  app.use((_, response, next) => {
    response.on("finish", () => {
      replays += response.getHeader("idempotent-replayed") ? 1 : 0;
      waits += response.statusCode === 409 ? 1 : 0;
    });
    next();
  });
  app.use(idempotent(idem, { scope: (request) => request.get("authorization") ?? "anybody", required: true }));
  app.post("/orders", express.json(), async (request, response) => {
    const { order } = request.body as { order: string };
    response.status(201).json(await sell(order, request.get("idempotency-key")));
  });
  app.post("/v1/payment_intents", express.urlencoded({ extended: true }), async (request, response) => {
    const { amount, currency, metadata } = request.body as {
      amount: string;
      currency: string;
      metadata: { order: string };
    };
    const { id } = await sell(metadata.order, request.get("idempotency-key"));
    const status = "requires_payment_method";
    response.json({ id, object: "payment_intent", amount: Number(amount), currency, metadata, status });
  });
  const server = app.listen(0, "127.0.0.1");
  await once(server, "listening");
  return {
    port: (server.address() as AddressInfo).port,
    sales,
    get replays() {
      return replays;
    },
    get waits() {
      return waits;
    },
    async close() {
      server.close();
      server.closeAllConnections();
      await once(server, "close");
    },
  };
}
