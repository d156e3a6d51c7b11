/**
 * What an answer says of the operation, read from its status and, where the server is one of
 * `idemp`, the `code` of its body, which is the same in both profiles.
 *
 * | verdict | | sent again | the operation may have been executed |
 * |---|---|---|---|
 * | `answer` | 1xx to 3xx | no | yes |
 * | `in-progress` | 409 `IDEMPOTENCY_IN_PROGRESS` or `IN_PROGRESS`, or with a `Retry-After` | yes | yes |
 * | `busy` | 425, 429 | yes | no |
 * | `unanswered` | 408, 502, 503, 504; 409, 412 and 422 whose body breaks off | yes | yes |
 * | `failed` | other 5xx | no | yes |
 * | `unknown` | 409 `IDEMPOTENCY_OUTCOME_UNKNOWN` | no | yes |
 * | `expired` | 412 `IDEMPOTENCY_KEY_EXPIRED` | no | yes |
 * | `conflict` | 409 or 422 `IDEMPOTENCY_KEY_CONFLICT` | no | yes |
 * | `refused` | other 4xx | no | no |
 */
export type Verdict =
  | "answer"
  | "in-progress"
  | "busy"
  | "unanswered"
  | "failed"
  | "unknown"
  | "expired"
  | "conflict"
  | "refused";

/** What the answer says. Leaves its body unread. */
export async function judge(response: Response): Promise<Verdict> {
  const { status } = response;
  if (status < 400) return "answer";
  if (status === 425 || status === 429) return "busy";
  if (status === 408 || (status > 501 && status < 505)) return "unanswered";
  if (status >= 500) return "failed";
  if (status !== 409 && status !== 412 && status !== 422) return "refused";
  const { code, broken } = await detailsOf(response.clone());
  if (broken) return "unanswered";
  const later = status === 409 && response.headers.has("retry-after");
  return BY_CODE[code ?? ""] ?? (later ? "in-progress" : "refused");
}

/** Whether the same request may be sent again, without a person who looks into it. */
export function mayRepeat(verdict: Verdict): boolean {
  return verdict === "in-progress" || verdict === "busy" || verdict === "unanswered";
}

/** Whether it is certain that nothing was executed. */
export function isRefusal(verdict: Verdict): boolean {
  return verdict === "refused" || verdict === "busy";
}

/** How long the server asks to wait, in milliseconds: `Retry-After` in seconds or as a date, which
 *  is compared with the server's own clock where it tells the time. */
export function retryAfter(response: Response, now: number): number | undefined {
  const text = response.headers.get("retry-after")?.trim();
  if (!text) return undefined;
  if (/^\d+$/.test(text)) return Number(text) * 1000;
  // Every form of a date begins with the name of its day; the platform reads much else as one.
  const until = /^[a-z]{3}/i.test(text) ? Date.parse(text) : Number.NaN;
  const from = Date.parse(response.headers.get("date") ?? "");
  const span = until - (Number.isNaN(from) ? now : from);
  return Number.isNaN(span) ? undefined : Math.max(0, span);
}

/** What a body of an error told. */
export interface Details {
  /** The body: parsed where it is JSON, else as text. */
  readonly body: unknown;
  readonly code: string | undefined;
  readonly requestId: string | undefined;
  /** The connection broke before all of it was there: what it says is not known. */
  readonly broken: boolean;
}

/** Reads the body of an error. */
export async function detailsOf(response: Response): Promise<Details> {
  let body: unknown;
  let broken = true;
  try {
    body = await response.text();
    broken = false;
    body = JSON.parse(body as string);
  } catch {
    // Text of another kind, or a connection that broke: the status stands.
  }
  const { code, requestId } = Object(body) as Record<string, unknown>;
  return {
    body,
    broken,
    code: typeof code === "string" ? code : undefined,
    requestId:
      typeof requestId === "string" ? requestId : (response.headers.get("x-request-id") ?? undefined),
  };
}

const BY_CODE: { [code: string]: Verdict } = {
  IDEMPOTENCY_IN_PROGRESS: "in-progress",
  IN_PROGRESS: "in-progress",
  IDEMPOTENCY_OUTCOME_UNKNOWN: "unknown",
  IDEMPOTENCY_KEY_EXPIRED: "expired",
  IDEMPOTENCY_KEY_CONFLICT: "conflict",
};
