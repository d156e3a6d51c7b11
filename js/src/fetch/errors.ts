import { IdempError } from "../errors.js";
import { detailsOf, type Details, type Verdict } from "./verdict.js";

export type OnceErrorCode =
  | "CONFLICT"
  | "IN_PROGRESS"
  | "EXPIRED"
  | "OUTCOME_UNKNOWN"
  | "NETWORK"
  | "SERVER_FAILED"
  | "BUSY"
  | "REFUSED"
  | "CLOSED";

/** What the server answered, where an error comes from an answer. */
export interface Answer extends Details {
  readonly status: number;
}

/** An operation came to no outcome. Its key is kept, unless it says otherwise. */
export class OnceError extends IdempError {
  override name = "OnceError";
  /** The status of the server's answer; `undefined` where the error is none of the server's. */
  readonly status: number | undefined;
  /** The `code` in the body of the server's answer. */
  readonly serverCode: string | undefined;
  /** The server's name for the request, for its operators. */
  readonly requestId: string | undefined;
  // Not a property that a log would print.
  readonly #body: unknown;

  constructor(
    override readonly code: OnceErrorCode,
    /** Whether the same call may succeed later, with the same key. */
    readonly retryable: boolean,
    options: ErrorOptions & { message?: string; answer?: Answer | undefined } = {},
  ) {
    super(code, options.message ?? MESSAGES[code], options);
    const { answer } = options;
    this.status = answer?.status;
    this.serverCode = answer?.code;
    this.requestId = answer?.requestId;
    this.#body = answer?.body;
  }

  /** The body of the server's answer: parsed where it is JSON, else as text. */
  get body(): unknown {
    return this.#body;
  }
}

/** The intent, or the key at the server, is bound to another payload. */
export class ConflictError extends OnceError {
  override name = "ConflictError";
}

/** The server is still executing an earlier request with this key. */
export class InProgressError extends OnceError {
  override name = "InProgressError";
}

/** The server knows the key, and no longer what came of it. */
export class ExpiredError extends OnceError {
  override name = "ExpiredError";
}

/** Whether it took effect is not known. Where {@link OnceError.retryable}, the next `once` goes on
 *  with the same key; else somebody has to look before `settle` makes room for a new one. */
export class UnknownOutcomeError extends OnceError {
  override name = "UnknownOutcomeError";
}

/** No answer came, however often it was sent. */
export class NetworkError extends UnknownOutcomeError {
  override name = "NetworkError";
}

/** The server refused, and did nothing. Where it is not {@link OnceError.retryable}, and no earlier
 *  request may have been executed, the key is given up: a mended payload may be sent. */
export class RefusedError extends OnceError {
  override name = "RefusedError";
}

/**
 * The error that an answer stands for, to be thrown by work that sends requests of its own. Reads
 * the body.
 *
 * ```ts
 * const response = await fetch(url, { method: "POST", headers: { "Idempotency-Key": `"${key}"` } });
 * if (!response.ok) throw await errorOf(response, await judge(response));
 * ```
 */
export async function errorOf(response: Response, verdict: Verdict): Promise<OnceError> {
  const answer = { ...(await detailsOf(response)), status: response.status };
  switch (verdict) {
    case "in-progress":
      return new InProgressError("IN_PROGRESS", true, { answer });
    case "busy":
      return new RefusedError("BUSY", true, { answer });
    case "refused":
      return new RefusedError("REFUSED", false, { answer });
    case "conflict":
      return new ConflictError("CONFLICT", false, { answer });
    case "expired":
      return new ExpiredError("EXPIRED", false, { answer });
    case "unknown":
      return new UnknownOutcomeError("OUTCOME_UNKNOWN", false, { answer });
    default:
      return new UnknownOutcomeError("SERVER_FAILED", true, { answer });
  }
}

const MESSAGES: Record<OnceErrorCode, string> = {
  CONFLICT: "already used with another payload; settle the intent before another one is sent",
  IN_PROGRESS: "the server is still executing it; call again, it goes on with the same key",
  EXPIRED: "the server no longer keeps the outcome; check whether it took effect, then settle",
  OUTCOME_UNKNOWN: "whether it took effect is not known; check, then settle",
  NETWORK: "no answer came; call again, it goes on with the same key",
  SERVER_FAILED: "the server failed; call again, it goes on with the same key",
  BUSY: "the server is busy and did nothing; call again later",
  REFUSED: "the server refused the request and did nothing; mend it and call again",
  CLOSED: "the client is closed",
};
