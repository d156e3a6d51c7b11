import { Buffer } from "node:buffer";
import { StoreError } from "../../errors.js";
import type { Store, Swap, Swapped } from "../../store.js";
import { inTime } from "../in-time.js";
import type { RedisClient } from "./client.js";
import { connectionsOf } from "./connections.js";
import { fault, meaning } from "./fault.js";
import { firstError, linkTo } from "./link.js";
import { checked, type RedisStoreOptions } from "./options.js";
import { NIL, Question, claims } from "./question.js";
import { Trust } from "./server.js";

export { RedisFault, type RedisFaultKind } from "./fault.js";
export type { Ioredis, NodeRedis, NodeRedisCluster, NodeRedisPool, RedisClient } from "./client.js";
export type { RedisStoreOptions } from "./options.js";

/** Keeps slots in Redis or Valkey: see {@link redisStore}. */
export interface RedisStore extends Store {
  swap(swap: Swap): Promise<Swapped>;
  /**
   * Asks the server now whether it can be trusted with records, which the first question does
   * otherwise: for a service that had rather not start.
   *
   * @throws StoreError STORE_UNUSABLE where it is too old, may evict records, or refuses the user.
   */
  check(): Promise<void>;
}

/** A node that was told of a move late sends the client back: after so many milliseconds at most it is
 *  asked anew. */
const PATIENCE = 100;

/**
 * A store in Redis (7.0 or newer) or Valkey, on the client that the service has anyway: `ioredis` or
 * `redis`, a pool or a cluster too. A record is one key, its expiry is the record's end, and the
 * server's clock decides every deadline. Each question is one trip. The records are those of the crate
 * `idemp-redis`: services in both languages share them.
 *
 * ```ts
 * const store = redisStore(new Redis("redis://127.0.0.1/"));
 * const idem = createIdempotency({ store, retention: "24h" });
 * ```
 *
 * The client stays the caller's: the store opens and closes nothing, and repeats nothing on its own.
 * A client that sends a command again after a lost connection does no harm: what it did the first time
 * is recognised. What is acknowledged is as durable as the server is set up: see docs/operations.md.
 *
 * @throws StoreError STORE_UNUSABLE where an option is out of its range, or the client is none that is
 * known; IdempError SPAN_INVALID.
 */
export function redisStore(client: RedisClient, options: RedisStoreOptions = {}): RedisStore {
  const settled = checked(options);
  const link = linkTo(client);
  const trust = new Trust(link, settled, connectionsOf(client));
  const prefix = Buffer.from(settled.prefix);

  async function ask(question: Question): Promise<Swapped> {
    const answer = await put(question);
    if (answer !== "unclear") return answer;
    const surely = await put(question.byScript());
    if (surely === "unclear") throw fault("reply", "the server's reply cannot be understood");
    return surely;
  }

  async function put(question: Question) {
    const started = performance.now();
    for (let moves = 0; ; moves++) {
      const replies = await inTime(settled.answerWithin, link.ask(question.key, question.commands()));
      const failed = firstError(replies);
      if (!failed) return question.answer(replies);
      const { error, code } = failed;
      if (question.mayHaveChanged(replies)) throw fault("overtaken", "the slot was claimed, and when was not told");
      // In both cases the server did nothing.
      if (code === "NOSCRIPT" && question.tells()) continue;
      if (code !== "MOVED" || link.alone) throw error;
      if (performance.now() - started > settled.answerWithin) throw fault("client", "no node of the cluster serves the key now");
      await inTime(settled.answerWithin, link.learn(question.key));
      if (moves > 0) await new Promise((resolve) => setTimeout(resolve, Math.min(2 ** moves, PATIENCE)));
    }
  }

  /** A full server takes no new slot, and no claim by commands. What is there can still be told. */
  async function askWhenFull(swap: Swap, key: Buffer): Promise<Swapped> {
    const read: Swap = { slot: swap.slot, expect: { rev: NIL }, put: "remove" };
    const reply = await ask(Question.of(read, key, false, settled.copies));
    if (!reply.won && reply.slot === undefined) throw new StoreError("STORE_FULL");
    return reply;
  }

  return {
    async swap(swap) {
      try {
        const granting = claims(swap);
        await trust.allow(granting);
        const key = Buffer.concat([prefix, Buffer.from(swap.slot, "hex")]);
        const question = Question.of(swap, key, link.alone, settled.copies);
        const asked = ask(question);
        if (!granting) return await asked;
        return await asked.catch((error: unknown) => {
          const meant = meaning(error);
          if (meant.code === "STORE_FULL") return askWhenFull(swap, key);
          throw meant;
        });
      } catch (error) {
        throw meaning(error);
      }
    },
    async check() {
      await trust.check();
      await trust.allow(true);
    },
  };
}
