import { IdempError } from "../errors.js";
import { detailsOf, type Details, type Verdict } from "./verdict.js";

export type OnceErrorCode =
  | "CONFLICT"
  | "IN_PROGRESS"
  | "EXPIRED"
  | "OUTCOME_UNKNOWN"
  | "WINDOW_OVER"
  | "NETWORK"
  | "SERVER_FAILED"
  | "BUSY"
  | "REFUSED"
  | "SETTLED"
  | "NESTED"
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
    options: ErrorOptions & { answer?: Answer } = {},
  ) {
    super(code, MESSAGES[code], options);
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
  const [Kind, code, retryable] = BY_VERDICT[verdict] ?? [UnknownOutcomeError, "SERVER_FAILED", true];
  return new Kind(code, retryable, { answer });
}

const BY_VERDICT: { [V in Verdict]?: [typeof OnceError, OnceErrorCode, boolean] } = {
  "in-progress": [InProgressError, "IN_PROGRESS", true],
  busy: [RefusedError, "BUSY", true],
  refused: [RefusedError, "REFUSED", false],
  conflict: [ConflictError, "CONFLICT", false],
  expired: [ExpiredError, "EXPIRED", false],
  unknown: [UnknownOutcomeError, "OUTCOME_UNKNOWN", false],
};

const AGAIN = "; call again, it goes on with the same key";
const CHECK = "; check whether it took effect, then settle";

const MESSAGES: Record<OnceErrorCode, string> = {
  CONFLICT: "already used with another payload; settle it before another one is sent",
  IN_PROGRESS: `the server is still executing it${AGAIN}`,
  EXPIRED: `the server no longer keeps the outcome${CHECK}`,
  OUTCOME_UNKNOWN: `the outcome is not known${CHECK}`,
  NETWORK: `no answer came${AGAIN}`,
  SERVER_FAILED: `the server failed${AGAIN}`,
  BUSY: `the server is busy and did nothing${AGAIN}`,
  REFUSED: "the server refused it and did nothing; mend it and call again",
  WINDOW_OVER: `the server may no longer know the key${CHECK}`,
  SETTLED: "it was settled, or refused, while this call waited for it; call again to start anew",
  NESTED: "waits for the work that calls it; take another intent",
  CLOSED: "the client is closed",
};
