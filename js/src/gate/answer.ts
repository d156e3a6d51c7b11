import { latin1, NOTHING } from "../core/bytes.js";
import { refusalAnswer, replayedHead, requestId } from "../core/http.js";
import { systemEntropy } from "../core/machine.js";

/** An answer to send as it is. Header values are texts of Latin-1 characters, one a byte, as `node:http`
 *  and `Headers` have them; a name may come more than once. */
export interface Answer {
  readonly status: number;
  readonly headers: readonly (readonly [name: string, value: string])[];
  readonly body: Uint8Array;
}

/** What an answer says of the request that it answers. */
export interface Asking {
  readonly profile: "default" | "ietf";
  /** The raw `x-request-id` of the request. */
  readonly requestId: string | undefined;
  /** Shown in part, in the default profile. */
  readonly key?: string | undefined;
}

const utf8 = new TextEncoder();

/** By a code of core's. */
export function refused(asking: Asking, code: string, retryAfterSeconds?: number): Answer {
  const { profile, key } = asking;
  const id = idOf(asking);
  const { status, headers, body } = refusalAnswer({ code, profile, requestId: id, key, retryAfterSeconds });
  return whole(status, headers, body, id);
}

/** Somebody else is at work, with so many milliseconds left of the lease. */
export function inProgress(asking: Asking, remaining: number): Answer {
  return refused(asking, "IDEMPOTENCY_IN_PROGRESS", Math.ceil(remaining / 1000));
}

/** A refusal that bids to come again in a second. */
export function later(answer: Answer): Answer {
  return { ...answer, headers: [...answer.headers, ["retry-after", "1"]] };
}

/** The stored answer; where it cannot be read, that it blocks. */
export function replayed(asking: Asking, stored: Uint8Array): Answer {
  try {
    const { status, headers, bodyAt, contentLength } = replayedHead(stored);
    const told = headers.map(([name, value]) => [name, latin1(value)] as const);
    if (contentLength !== undefined) told.push(["content-length", String(contentLength)]);
    return { status, headers: told, body: stored.subarray(bodyAt) };
  } catch {
    return refused(asking, "IDEMPOTENCY_STORE_UNAVAILABLE");
  }
}

/** What core has no rule for, in the form of what it has. */
export function other(asking: Asking, kind: keyof typeof OTHERS): Answer {
  const [status, title, code, message] = OTHERS[kind];
  const id = idOf(asking);
  const [type, body] =
    asking.profile === "default"
      ? ["application/json", { code, message, requestId: id, details: {} }]
      : [
          "application/problem+json",
          { type: "about:blank", title, status, detail: message, code, requestId: id },
        ];
  const headers = [
    ["content-type", type],
    ["content-language", "en"],
    ["cache-control", "no-store"],
  ] as const;
  return whole(status, headers, JSON.stringify(body), id);
}

const OTHERS = {
  unauthenticated: [401, "Unauthorized", "UNAUTHENTICATED", "This operation requires authentication."],
  scope: [
    500,
    "Internal Server Error",
    "IDEMPOTENCY_SCOPE_MISSING",
    "The server cannot tell whose Idempotency-Key this is.",
  ],
  broken: [
    400,
    "Bad Request",
    "IDEMPOTENCY_BODY_UNREADABLE",
    "The request body broke off. Nothing was done; send it again.",
  ],
  consumed: [
    500,
    "Internal Server Error",
    "IDEMPOTENCY_BODY_CONSUMED",
    "The server cannot compare this request with others that have its Idempotency-Key. Nothing was done.",
  ],
  nested: [
    500,
    "Internal Server Error",
    "IDEMPOTENCY_NESTED",
    "The server takes this request for a duplicate of itself.",
  ],
} as const;

/** What a client gets where a function of the application failed. */
export const PLAIN_500: Answer = { status: 500, headers: [["content-length", "0"]], body: NOTHING };

function whole(status: number, headers: Answer["headers"], body: string, id: string): Answer {
  const bytes = utf8.encode(body);
  const own = [["x-request-id", id], ["content-length", String(bytes.length)]] as const;
  return { status, headers: [...headers, ...own], body: bytes };
}

function idOf({ requestId: sent }: Asking): string {
  return requestId(sent, systemEntropy().subarray(0, 4));
}
