import {
  Gate,
  type Awaitable,
  type Entry,
  type Execution,
  type GateSettings,
  type ScopeOf,
  type Whose,
} from "../gate/index.js";
import type { Idempotency } from "../idempotency.js";
import { bodyOf, keysOf, renewed, requestIdOf, targetOf } from "./incoming.js";
import { concluded, responseOf } from "./outgoing.js";

export { UNAUTHENTICATED, type Execution, type GateSettings, type ScopeOf } from "../gate/index.js";
export type { Disposition, StatusTable } from "../core/http.js";

/** What a handler is called with: the request, and whatever its runtime adds (`env` and `ctx` of a
 *  worker, the parameters of a route). */
type Rest = any[]; // eslint-disable-line

/** What is to be idempotent, and how. Only `scope` has to be there, or `unscoped`. */
export type WebOptions = WebSettings &
  (
    | {
        /** Whose key it is: see {@link ScopeOf}. It has the arguments of the handler. */
        readonly scope: (request: Request, ...rest: Rest) => ReturnType<ScopeOf<Request>>;
        readonly unscoped?: undefined;
      }
    | Extract<Whose<Request>, { unscoped: true }>
  );

export interface WebSettings extends GateSettings<Request> {
  /** Is handed what has to go on though its client is gone or its answer is given, for runtimes that
   *  stop then. By default the method `waitUntil` of an argument that has one, such as `ctx` of a worker. */
  readonly waitUntil?: (work: Promise<unknown>, request: Request, ...rest: Rest) => void;
}

/** Made by {@link idempotent}. */
export interface Idempotent {
  <Q extends Request, A extends Rest>(
    handler: (request: Q, ...rest: A) => Awaitable<Response>,
  ): (request: Q, ...rest: A) => Promise<Response>;
  /** Resolves when nothing is executed any more, also for clients that are gone: for a graceful
   *  shutdown. */
  idle(): Promise<void>;
}

/**
 * Makes handlers of `Request` and `Response` idempotent: route handlers of Next.js, `Deno.serve`,
 * `Bun.serve`, workers.
 *
 * ```ts
 * const once = idempotent(idem, { scope: (request) => userOf(request) });
 * export const POST = once(async (request) => Response.json(await create(await request.json()), { status: 201 }));
 * ```
 *
 * It stands behind what authenticates, before what could refuse a retry, and inside of what belongs to
 * each answer: CORS, compression. A request without a key, or with another method than POST and PATCH,
 * passes untouched.
 *
 * The handler gets a request of its own with the same URL, method, headers and body. **Its `signal` never
 * aborts**: a client that goes away does not stop the handler, whose outcome is stored and is what the
 * retry gets. What the handler returns is stored before its first byte goes out. An error that it throws
 * releases the key for the same payload, and is thrown on.
 *
 * @throws IdempError OPTIONS_INVALID, SPAN_INVALID, STATUS_TABLE_INVALID or POLICY_INVALID, with what to do.
 */
export function idempotent(idem: Idempotency, options: WebOptions): Idempotent {
  const { scope, unscoped, fingerprint, waitUntil = lent, ...settings } = options;
  const gate = new Gate<Call>(idem, {
    ...settings,
    ...(fingerprint && { fingerprint: ({ request }: Call, body: Uint8Array) => fingerprint(request, body) }),
    ...({ scope: scope && (({ request, rest }: Call) => scope(request, ...rest)), unscoped } as Whose<Call>),
  });

  async function keyed(entry: Entry, call: Call, handler: Handler): Promise<Response> {
    const { request, rest } = call;
    let body: Uint8Array | undefined;
    const read = async () => {
      const bytes = await bodyOf(request, gate.bodyLimit);
      if (typeof bytes !== "string") body = bytes;
      return bytes;
    };
    const admitted = await gate.admit(entry, call, targetOf(request), read, (work) => goOn(work, call), executions.get(request));
    if (admitted.type === "answer") return responseOf(admitted.answer);
    if (admitted.type === "open") return handler(renewed(request, body!), ...rest);
    const { owner } = admitted;
    if (owner.isOver()) {
      await owner.leave();
      return responseOf(owner.comeAgain());
    }
    let response: Response;
    try {
      const again = renewed(request, body!);
      executions.set(again, owner.execution);
      response = await handler(again, ...rest);
      // Not `instanceof`: a runtime may have several.
      if (typeof response?.headers?.get !== "function") throw new TypeError("idemp: a handler has to return a Response");
    } catch (error) {
      await owner.settle({ type: "thrown" });
      throw error;
    }
    const concluding = await concluded(gate as Gate<never>, owner, response);
    return "own" in concluding ? concluding.own : responseOf(concluding.instead);
  }

  const wrap = (handler: Handler) =>
    async (request: Request, ...rest: Rest): Promise<Response> => {
      const entered = gate.enter(request.method, keysOf(request), requestIdOf(request));
      if (entered.type === "pass") return handler(request, ...rest);
      if (entered.type === "answer") return responseOf(entered.answer);
      const answer = keyed(entered.entry, { request, rest }, handler);
      goOn(answer.catch(() => undefined), { request, rest });
      return answer;
    };

  function goOn(work: Promise<unknown>, { request, rest }: Call): void {
    try {
      waitUntil(work, request, ...rest);
    } catch {
      // It goes on for as long as the runtime lets it.
    }
  }

  return Object.assign(wrap as Idempotent, { idle: () => gate.idle() });
}

/** The execution that a handler runs under, by the request that it was given; `undefined` where that came
 *  without a key. */
export function executionOf(request: Request): Execution | undefined {
  return executions.get(request);
}

const executions = new WeakMap<Request, Execution>();

type Handler = (request: any, ...rest: Rest) => Awaitable<Response>; // eslint-disable-line

interface Call {
  readonly request: Request;
  readonly rest: Rest;
}

function lent(work: Promise<unknown>, _: Request, ...rest: Rest): void {
  rest.find((argument) => typeof argument?.waitUntil === "function")?.waitUntil(work);
}
