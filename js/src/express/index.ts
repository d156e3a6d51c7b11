import type { NextFunction, Request, RequestHandler, Response } from "express";
import type { Idempotency } from "../idempotency.js";
import { Gate, byStatus, type Execution, type GateOptions } from "../gate/index.js";
import { Exchange } from "../node/admission.js";

export { UNAUTHENTICATED, type Execution } from "../gate/index.js";

declare global {
  // How the types of Express are extended.
  // eslint-disable-next-line @typescript-eslint/no-namespace
  namespace Express {
    interface Request {
      /** The execution of a request with an idempotency key; `undefined` where it has none. */
      idempotency?: Execution;
    }
  }
}

/** For Express; see the fields. */
export type ExpressOptions = GateOptions<Request> & {
  /**
   * Where a JSON parser stands before, and nobody keeps `req.rawBody`: two requests are the same where
   * `JSON.stringify(req.body)` is. **What the parser drops or rounds does not count**: numbers beyond
   * 2^53, members that are there twice. Without it such requests are refused with 500, and so are forms
   * with files (`multipart/…`), and values that have no JSON form, in any case.
   */
  readonly parsed?: boolean;
};

/** A middleware of Express. */
export interface Idempotent extends RequestHandler {
  /** Resolves when nothing is executed any more, also for clients that are gone: after the server was
   *  closed, before the process ends. */
  idle(): Promise<void>;
}

/**
 * Makes what stands behind it idempotent, in Express 5 and 4: a request with an `Idempotency-Key` is
 * executed once, and every retry gets its answer, byte for byte.
 *
 * ```ts
 * app.use(authenticate);
 * app.post("/api/video-tasks", idempotent(idem, { scope: (req) => req.user.id }), express.json(), createTask);
 * ```
 *
 * It stands
 * - *behind* authentication and authorisation: a replay is for those only who could have made the request;
 * - *before* what could refuse a retry, such as rate limits and validation, and before body parsers: it
 *   compares the bytes of the body, and leaves them for the parser;
 * - *inside* of what belongs to each answer: CORS, compression, request ids, logs. What they set stays on
 *   a replay.
 *
 * Where a parser has to stand before it, let it keep the bytes, as `req.rawBody`:
 * `express.json({ verify: (req, _, bytes) => { req.rawBody = bytes; } })`. Behind `express.raw()` nothing
 * is to be done. Otherwise requests with a key are refused, with 500 `IDEMPOTENCY_BODY_CONSUMED`; see
 * {@link ExpressOptions.parsed}.
 *
 * An error of the handler goes to the error handler of the application, and the status of its answer
 * says what becomes of the key: 5xx free it for the same payload (`statuses.thrown` is refused). An error
 * after the answer has begun closes the connection, as Express does it, and retries are told that the
 * outcome is unknown.
 *
 * A client that goes away does not stop the handler; `close` is emitted on the response when its answer
 * is stored. What never answers holds its key until the lease reaches its ceiling.
 *
 * @throws IdempError OPTIONS_INVALID, SPAN_INVALID, STATUS_TABLE_INVALID or POLICY_INVALID.
 */
export function idempotent(idem: Idempotency, options: ExpressOptions): Idempotent {
  const gate = new Gate<Request>(idem, byStatus(options));
  const parsed = options.parsed ?? false;
  const handler: RequestHandler = (req, res, next) => new ExpressExchange(gate, req, res, next, parsed).admit();
  return Object.assign(handler, { idle: () => gate.idle() });
}

class ExpressExchange extends Exchange<Request> {
  constructor(
    gate: Gate<Request>,
    request: Request,
    response: Response,
    private readonly onward: NextFunction,
    private readonly parsed: boolean,
  ) {
    super(gate, request, request, response);
  }

  protected override url(): string {
    return this.request.originalUrl;
  }

  protected override next(execution: Execution | undefined): void {
    if (execution) this.request.idempotency = execution;
    this.onward();
  }

  protected override execution(): Execution | undefined {
    return this.request.idempotency;
  }

  protected override fail(error: unknown): void {
    this.onward(error);
  }

  protected override kept(): Uint8Array | undefined {
    const { rawBody, body } = this.request as { rawBody?: unknown; body?: unknown };
    if (rawBody instanceof Uint8Array) return rawBody;
    if (body instanceof Uint8Array) return body;
    if (!this.parsed || body === undefined) return undefined;
    // What a parser of forms with files puts there is not all of it.
    if (/^\s*multipart\//i.test(this.request.headers["content-type"] ?? "")) return undefined;
    return jsonOf(body);
  }
}

/** `undefined` where it has no such form: a number beyond 2^53 as a `bigint`, a cycle. */
function jsonOf(value: unknown): Uint8Array | undefined {
  try {
    const text = JSON.stringify(value) as string | undefined;
    return text === undefined ? undefined : Buffer.from(text);
  } catch {
    return undefined;
  }
}
