import type { FastifyInstance, FastifyPluginCallback, FastifyReply, FastifyRequest } from "fastify";
import { IdempError } from "../errors.js";
import { Gate, byStatus, type Entered, type Execution, type GateOptions, type GateSettings, type ScopeOf } from "../gate/index.js";
import type { Idempotency } from "../idempotency.js";
import { Exchange } from "../node/admission.js";

export { UNAUTHENTICATED, type Execution } from "../gate/index.js";

declare module "fastify" {
  interface FastifyRequest {
    /** The execution of a request with an idempotency key; `undefined` where it has none. */
    idempotency: Execution | undefined;
  }
  interface FastifyContextConfig {
    /** What is different on this route; `false` where nothing is made idempotent. */
    idempotency?: RouteOptions | false;
  }
}

/** What a route may have for itself. */
export type RouteOptions = GateSettings<FastifyRequest> & { readonly scope?: ScopeOf<FastifyRequest> };

/** Options of the plugin {@link idempotency}; those of its routes are their defaults. */
export type IdempotencyPluginOptions = GateOptions<FastifyRequest> & {
  readonly idem: Idempotency;
  /** Where it stands; `"onRequest"`. A later one for applications that tell only then who is asking: in
   *  their hooks for `preValidation` or `preHandler`. */
  readonly hook?: "onRequest" | "preValidation" | "preHandler";
};

/**
 * Makes the routes of an application idempotent, in Fastify 5: a request with an `Idempotency-Key` is
 * executed once, and every retry gets its answer, byte for byte.
 *
 * ```ts
 * await app.register(authentication); // its hooks stand before
 * await app.register(idempotency, { idem, scope: (request) => request.user.id });
 * await app.register(rateLimit);      // and these behind
 * app.post("/api/video-tasks", { config: { idempotency: { required: true } } }, createTask);
 * ```
 *
 * It is for the instance that registers it and for those within, like a plugin of `fastify-plugin`.
 *
 * It is a hook for `onRequest`, and these run in the order in which they are registered: so it is
 * registered behind authentication and CORS, and before rate limits. Parsing, validation and the hooks of
 * the route itself come later: a retry is answered before them. Where the application authenticates in a
 * later hook, see {@link IdempotencyPluginOptions.hook}; what is before it may refuse a retry then.
 *
 * What is stored is what goes out: behind serialisation and the hooks for `onSend`, whose work is not done
 * again on a replay. The headers that were set on the reply before stay on it. Streams, `reply.raw` and
 * `reply.hijack()` are stored like anything else.
 *
 * An error of the handler goes to the error handler, and the status of its answer says what becomes of the
 * key: 5xx free it for the same payload (`statuses.thrown` is refused). A client that goes away does not
 * stop the handler; `close` is emitted on the response when its answer is stored. What never answers holds
 * its key until the lease reaches its ceiling. `app.close()` waits for what is executed.
 *
 * @throws IdempError OPTIONS_INVALID, SPAN_INVALID, STATUS_TABLE_INVALID or POLICY_INVALID, when it or a
 * route is registered.
 */
export const idempotency: FastifyPluginCallback<IdempotencyPluginOptions> = Object.assign(plugin, {
  // As `fastify-plugin` marks one: its hooks are those of the instance that registers it.
  [Symbol.for("skip-override")]: true,
  [Symbol.for("fastify.display-name")]: "idemp",
  [Symbol.for("plugin-meta")]: { fastify: "5.x", name: "idemp" },
});

function plugin(app: FastifyInstance, options: IdempotencyPluginOptions, done: (error?: Error) => void): void {
  try {
    install(app, options);
  } catch (error) {
    return done(error as Error);
  }
  done();
}

function install(app: FastifyInstance, options: IdempotencyPluginOptions): void {
  const { idem, hook = "onRequest", ...defaults } = options;
  if (!HOOKS.includes(hook)) {
    throw new IdempError("OPTIONS_INVALID", `\`hook\` is one of ${HOOKS.join(", ")}`);
  }
  const usual = new Gate<FastifyRequest>(idem, byStatus(defaults as GateOptions<FastifyRequest>));
  const gates = new Map<RouteOptions, Gate<FastifyRequest>>();
  const gateFor = (own: RouteOptions | false | undefined): Gate<FastifyRequest> | undefined => {
    if (own === undefined) return usual;
    if (own === false) return undefined;
    let gate = gates.get(own);
    if (!gate) {
      const whose = own.scope ? { ...defaults, unscoped: undefined } : defaults;
      gate = new Gate(idem, byStatus({ ...whose, ...own } as GateOptions<FastifyRequest>));
      gates.set(own, gate);
    }
    return gate;
  };
  const exchangeOf = (request: FastifyRequest, reply: FastifyReply, onward: Onward) => {
    const gate = request.is404 ? undefined : gateFor(request.routeOptions.config.idempotency);
    return gate && new FastifyExchange(gate, request, reply, onward);
  };

  if (!app.hasRequestDecorator("idempotency")) app.decorateRequest("idempotency", undefined);
  // So that what is wrong with a route is said at the start.
  app.addHook("onRoute", ({ config }) => void gateFor(config?.idempotency));
  app.addHook("onClose", async () => {
    await Promise.all([usual, ...gates.values()].map((gate) => gate.idle()));
  });
  if (hook === "onRequest") {
    app.addHook(hook, (request, reply, onward) => {
      const exchange = exchangeOf(request, reply, onward);
      if (exchange) exchange.admit();
      else onward();
    });
  } else {
    // The bytes are noted while the body is parsed.
    const noted = new WeakMap<FastifyRequest, Noted>();
    app.addHook("onRequest", (request, reply, onward) => {
      const exchange = exchangeOf(request, reply, onward);
      const entered = exchange?.enter();
      if (exchange && entered) {
        const read = entered.type === "keyed" ? exchange.read() : undefined;
        noted.set(request, { entered, read });
      }
      onward();
    });
    app.addHook(hook, (request: FastifyRequest, reply: FastifyReply, onward: Onward) => {
      const before = noted.get(request);
      // None where a handler has said that nothing is found, which makes it another route's.
      const exchange = before && exchangeOf(request, reply, onward);
      if (exchange) exchange.admit(before.entered, before.read);
      else onward();
    });
  }
}

const HOOKS = ["onRequest", "preValidation", "preHandler"];

type Onward = (error?: Error) => void;

interface Noted {
  readonly entered: Entered;
  readonly read: ReturnType<FastifyExchange["read"]> | undefined;
}

class FastifyExchange extends Exchange<FastifyRequest> {
  constructor(
    gate: Gate<FastifyRequest>,
    request: FastifyRequest,
    private readonly reply: FastifyReply,
    private readonly onward: Onward,
  ) {
    super(gate, request, request.raw, reply.raw);
  }

  protected override url(): string {
    return this.request.originalUrl;
  }

  protected override next(execution: Execution | undefined): void {
    this.request.idempotency = execution;
    this.onward();
  }

  protected override execution(): Execution | undefined {
    return this.request.idempotency;
  }

  protected override fail(error: unknown): void {
    this.onward(error as Error);
  }

  protected override takeOver(): void {
    const { reply, res } = this;
    const headers = reply.getHeaders();
    reply.hijack();
    for (const name in headers) res.setHeader(name, headers[name] as string);
  }
}
