/** The middleware for Express: see {@link idempotent}. */
import "#core";

export * from "../express/index.js";
