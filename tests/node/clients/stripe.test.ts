// Stripe's own client, pointed at our server: it makes the key and keeps it for its retries.
import { test } from "node:test";
import Stripe from "stripe";
import { PATIENCE, RETRIES, spree } from "./spree.js";

test("what Stripe's client creates is created once, whatever becomes of the replies", async (t) => {
  await spree(t, ({ host, port }) => {
    const stripe = new Stripe("sk_test_4eC39HqLyjWDarjtT1zdp7dc", {
      ...{ host, port, protocol: "http" },
      timeout: PATIENCE,
      maxNetworkRetries: RETRIES,
      telemetry: false,
    });
    return async (order) => {
      const intent = await stripe.paymentIntents.create({ amount: 4200, currency: "eur", metadata: { order } });
      return intent.id;
    };
  });
});
