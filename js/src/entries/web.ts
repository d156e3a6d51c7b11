/** The middleware for handlers of `Request` and `Response`: see {@link idempotent}. */
import "#server-core";

export * from "../web/index.js";
