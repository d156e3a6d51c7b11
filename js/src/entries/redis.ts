/** A store in Redis or Valkey, on the service's own client: see {@link redisStore}. */
import "#core";

export * from "../stores/redis/index.js";
