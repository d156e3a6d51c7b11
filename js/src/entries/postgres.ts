/** A store in PostgreSQL, on the service's own client: see {@link postgresStore}. */
import "#core";

export * from "../stores/postgres/index.js";
