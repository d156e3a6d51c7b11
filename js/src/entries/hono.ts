/** The middleware for Hono: see {@link idempotent}. */
import "#server-core";

export * from "../hono/index.js";
