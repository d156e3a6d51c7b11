/** The plugin for Fastify: see {@link idempotency}. */
import "#core";

export * from "../fastify/index.js";
