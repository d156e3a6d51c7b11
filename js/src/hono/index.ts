import type { Context, Env, MiddlewareHandler, Next } from "hono";
import { Gate, type Entry, type Execution, type GateOptions, type Unread } from "../gate/index.js";
import type { Idempotency } from "../idempotency.js";
import { bodyOf, keysOf, renewed, requestIdOf, targetOf } from "../web/incoming.js";
import { concluded, responseOf } from "../web/outgoing.js";

export { UNAUTHENTICATED, type Execution, type GateSettings, type ScopeOf } from "../gate/index.js";
export type { Disposition, StatusTable } from "../core/http.js";

declare module "hono" {
  interface ContextVariableMap {
    /** The execution that the handler runs under, where the request came with a key. */
    idempotency?: Execution;
  }
}

/** What is to be idempotent, and how. Only `scope` has to be there, or `unscoped`. */
export type HonoOptions<E extends Env = any> = GateOptions<Context<E>>; // eslint-disable-line

/** Made by {@link idempotent}. */
export interface HonoIdempotent extends MiddlewareHandler {
  /** Resolves when nothing is executed any more, also for clients that are gone: for a graceful
   *  shutdown. */
  idle(): Promise<void>;
}

/**
 * Makes routes of Hono idempotent.
 *
 * ```ts
 * app.post("/tasks", idempotent(idem, { scope: (c) => c.get("user").id }), async (c) => {
 *   return c.json(await create(await c.req.json(), c.get("idempotency")?.fence), 201);
 * });
 * ```
 *
 * It stands behind what authenticates, before validators and everything else that reads the body or could
 * refuse a retry, and inside of `cors`, `compress` and `logger`; and where the path is whole, not in an
 * application that is handed to `app.mount`: that takes the prefix away, and the path is a part of what
 * makes two requests the same. A request without a key, or with another method than POST and PATCH, passes
 * untouched.
 *
 * An error counts as the response that `onError` makes of it, unless `statuses.thrown` has a rule for it.
 * What a handler writes to the response of Node itself cannot be stored, and retries are told that it is
 * unknown. `c.req.raw` is a request of its own, whose `signal` never aborts: a client that goes away does
 * not stop the handler, whose outcome is stored and is what the retry gets.
 *
 * @throws IdempError OPTIONS_INVALID, SPAN_INVALID, STATUS_TABLE_INVALID or POLICY_INVALID, with what to do.
 */
export function idempotent<E extends Env = any>(idem: Idempotency, options: HonoOptions<E>): HonoIdempotent { // eslint-disable-line
  const gate = new Gate<Context>(idem, options as GateOptions<Context>);
  const thrown = options.statuses?.thrown !== undefined;

  async function keyed(entry: Entry, c: Context, next: Next): Promise<void> {
    const { raw } = c.req;
    let body: Uint8Array | undefined;
    const read = async () => {
      const bytes = await bodyIn(c, gate.bodyLimit);
      if (typeof bytes !== "string") body = bytes;
      return bytes;
    };
    const admitted = await gate.admit(entry, c, targetOf(raw), read, (work) => goOn(c, work), c.get("idempotency"));
    if (admitted.type === "answer") return replaced(c, responseOf(admitted.answer, new Headers(c.res.headers)));
    if (admitted.type === "open") {
      c.req.raw = renewed(raw, body!);
      return next();
    }
    const { owner } = admitted;
    if (owner.isOver()) {
      await owner.leave();
      return replaced(c, responseOf(owner.comeAgain(), new Headers(c.res.headers)));
    }
    try {
      c.req.raw = renewed(raw, body!);
      c.set("idempotency", owner.execution);
      await next();
    } catch (error) {
      await owner.settle({ type: "thrown" });
      throw error;
    }
    // Hono says itself that there is no answer. An error has one; where there is a rule for errors, it counts.
    if (!c.finalized || (c.error && thrown)) return void (await owner.settle({ type: "thrown" }));
    const past = sentPast(c);
    if (past !== undefined) return void (await owner.settle({ type: "unstorable", status: past }));
    const concluding = await concluded(gate as Gate<never>, owner, c.res);
    if ("instead" in concluding) replaced(c, responseOf(concluding.instead, around(c.res.headers)));
    else if (concluding.own !== c.res) replaced(c, concluding.own);
  }

  const middleware: MiddlewareHandler = async (c, next) => {
    const { raw } = c.req;
    const entered = gate.enter(raw.method, keysOf(raw), requestIdOf(raw));
    if (entered.type === "pass") return next();
    if (entered.type === "answer") return replaced(c, responseOf(entered.answer, new Headers(c.res.headers)));
    const answer = keyed(entered.entry, c, next);
    goOn(c, answer.catch(() => undefined));
    return answer;
  };
  return Object.assign(middleware, { idle: () => gate.idle() });
}

/** Instead of the response that is there, with whose headers Hono would mix these. */
function replaced(c: Context, response: Response): void {
  c.res = undefined;
  c.res = response;
}

/** The status of an answer that the handler has written to the response of Node, where it has: the
 *  response of Hono only says so (`RESPONSE_ALREADY_SENT` of `@hono/node-server`), and has nothing of it. */
function sentPast(c: Context): number | undefined {
  if (!c.res.headers.has("x-hono-already-sent")) return undefined;
  const { outgoing } = (c.env ?? {}) as { outgoing?: { statusCode?: number } };
  return outgoing?.statusCode ?? c.res.status;
}

/** What stands around another answer than the handler's own: nothing that says something of its body. */
function around(headers: Headers): Headers {
  const kept = new Headers(headers);
  for (const name of headers.keys()) {
    if (/^(content-.*|etag|last-modified|location|link)$/.test(name)) kept.delete(name);
  }
  return kept;
}

async function bodyIn(c: Context, limit: number): Promise<Uint8Array | Unread> {
  const { raw, bodyCache } = c.req;
  if (!raw.bodyUsed) return bodyOf(raw, limit);
  // Somebody has read it. Only its bytes will do: a text may have lost some, a value more.
  const kept = await (bodyCache.arrayBuffer ?? bodyCache.blob);
  if (kept === undefined) return "consumed";
  const bytes = new Uint8Array(kept instanceof ArrayBuffer ? kept : await (kept as Blob).arrayBuffer());
  return bytes.length > limit ? "too-large" : bytes;
}

/** For runtimes that stop when an answer is given. */
function goOn(c: Context, work: Promise<unknown>): void {
  try {
    c.executionCtx.waitUntil(work);
  } catch {
    // This one has no such thing.
  }
}
