/** Where the error handler of the application answers, nothing else can be said of what was thrown. */
import assert from "node:assert/strict";
import { test } from "node:test";
import Fastify from "fastify";
import { createIdempotency } from "idemp";
import { idempotent } from "idemp/express";
import { idempotency } from "idemp/fastify";
import { memoryStore } from "idemp/memory";

const idem = createIdempotency({ store: memoryStore() });
const options = { unscoped: true, statuses: { thrown: "fence" } } as const;
const refusal = { code: "OPTIONS_INVALID", message: /`statuses\.thrown`.*500/ };

test("Express refuses a rule for a throw, which it could not keep", () => {
  assert.throws(() => idempotent(idem, options), refusal);
});

test("Fastify refuses a rule for a throw, which it could not keep", async () => {
  const app = Fastify();
  await assert.rejects(async () => app.register(idempotency, { idem, ...options }), refusal);
});

test("Fastify refuses one of a route, too", async () => {
  const app = Fastify();
  await app.register(idempotency, { idem, unscoped: true });
  const route = () => app.post("/", { config: { idempotency: options } }, async () => "done");
  assert.throws(route, refusal);
  await app.close();
});
