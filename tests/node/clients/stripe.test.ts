// Stripe's own client, pointed at our server.
import { randomUUID } from "node:crypto";
import { test } from "node:test";
import Stripe from "stripe";
import { LOSSES } from "./lossy-proxy.js";
import { PATIENCE, RETRIES, spree } from "./spree.js";

function client({ host, port }: { host: string; port: number }): Stripe {
  return new Stripe("sk_test_4eC39HqLyjWDarjtT1zdp7dc", {
    ...{ host, port, protocol: "http" },
    timeout: PATIENCE,
    maxNetworkRetries: RETRIES,
    telemetry: false,
  });
}

test("with a key of its own, Stripe's client creates once whatever it retries", async (t) => {
  // It makes the key and keeps it for its retries. A body that breaks off it does not retry.
  const retried = LOSSES.filter((loss) => loss !== "half a body");
  await spree(t, (origin) => {
    const stripe = client(origin);
    return async (order) => {
      const intent = await stripe.paymentIntents.create({ amount: 4200, currency: "eur", metadata: { order } });
      return intent.id;
    };
  }, retried);
});

test("with a key of its caller, who asks again, it creates once whatever becomes of the replies", async (t) => {
  await spree(t, (origin) => {
    const stripe = client(origin);
    return async (order) => {
      const idempotencyKey = randomUUID();
      for (;;) {
        try {
          const payment = { amount: 4200, currency: "eur", metadata: { order } };
          return (await stripe.paymentIntents.create(payment, { idempotencyKey })).id;
        } catch (error) {
          if (!(error instanceof Stripe.errors.StripeConnectionError)) throw error;
        }
      }
    };
  });
});
