/** What a case expects of an answer, and whether it is that. */
import { bytesOf, refusals, type Expected } from "./case.js";
import type { Answer } from "./client.js";
import type { Framework } from "./service.js";

/** Those that belong to the server and the connection. What the README of the cases says of them is
 *  said here. */
const OF_THE_SERVER = ["date", "connection", "keep-alive", "transfer-encoding", "content-length"];

/** By name in lower case, the values of one name in their order. */
type Headers = Record<string, string[]>;

/** What is wrong with the answer, if anything. */
export function differs(answer: Answer | undefined, expected: Expected, framework: Framework): string | undefined {
  if (!answer) return expected.broken ? undefined : "the connection ended without an answer";
  if (expected.broken) return answer.whole ? `a whole answer: ${shown(answer)}` : undefined;
  const told = toldOf(expected, answer);
  const headers = left(answer);
  const named = joined(told.headers, framework);
  if (framework.contentType && !named["content-type"]) named["content-type"] = [framework.contentType];
  const wrong = [
    !answer.whole && "it broke off",
    told.status !== answer.status && `status: expected ${told.status}`,
    sorted(named) !== sorted(joined(headers, framework)) && `headers: expected ${sorted(named)}`,
    !told.body.equals(answer.body) && `body: expected ${told.body.toString().slice(0, 1000)}`,
    wrongLength(answer, told.own),
  ].filter((why) => typeof why === "string");
  return wrong.length > 0 ? `${wrong.join("\n  ")}\n  it was: ${shown(answer)}` : undefined;
}

interface Told {
  readonly status: number;
  readonly headers: Headers;
  readonly body: Buffer;
  /** Whether it is an answer of the middleware's own. */
  readonly own: boolean;
}

function toldOf(expected: Expected, answer: Answer): Told {
  const headers: Headers = {};
  const add = (name: string, value: string) => (headers[name.toLowerCase()] ??= []).push(value);
  for (const [name, value] of expected.headers ?? []) add(name, value);
  const { refused, replayed = false, profile = "default", key = "" } = expected;
  if (refused === undefined) {
    if (replayed) {
      add("idempotent-replayed", "true");
      add("cache-control", "no-store");
    }
    return { status: expected.status ?? 200, headers, body: bytesOf(expected.body ?? ""), own: replayed };
  }
  const refusal = refusals[profile]?.[refused];
  if (!refusal) throw new Error(`refusals.json has no ${refused} in ${profile}`);
  for (const [name, value] of refusal.headers) add(name, value);
  const id = expected.requestId ?? madeId(answer);
  add("x-request-id", id);
  if (expected.retryAfter) {
    const [least, most] = expected.retryAfter;
    const said = (left(answer)["retry-after"] ?? []).join();
    const fits = /^\d+$/.test(said) && Number(said) >= least && Number(said) <= most;
    add("retry-after", fits ? said : `${least} to ${most}`);
  }
  const body = refusal.body.replaceAll("{requestId}", () => id).replaceAll("{key}", () => key);
  return { status: refusal.status, headers, body: Buffer.from(body), own: true };
}

/** The id of the answer where it is one that was made, else what one looks like. */
function madeId(answer: Answer): string {
  const id = (left(answer)["x-request-id"] ?? []).join();
  return /^req_[0-9a-f]{8}$/.test(id) ? id : "req_ and 8 hex digits";
}

function left({ headers }: Answer): Headers {
  const left: Headers = {};
  for (const [given, value] of headers) {
    const name = given.toLowerCase();
    if (!OF_THE_SERVER.includes(name)) (left[name] ??= []).push(value);
  }
  return left;
}

function joined(headers: Headers, { joins }: Framework): Headers {
  if (!joins) return headers;
  const lines = Object.entries(headers).map(([name, values]) => [name, name === "set-cookie" ? values : [values.join(", ")]]);
  return Object.fromEntries(lines) as Headers;
}

function sorted(headers: Headers): string {
  return JSON.stringify(Object.entries(headers).sort(([a], [b]) => (a < b ? -1 : 1)));
}

/** A length that is told is the true one; the middleware's own answers tell it. */
function wrongLength({ headers, status, headOnly, body }: Answer, own: boolean): string | undefined {
  const length = headers.find(([name]) => name.toLowerCase() === "content-length")?.[1];
  const without = status === 204 || status === 304;
  if (length === undefined) return own && !without ? "no content-length" : undefined;
  if (without) return "a content-length where there is no body";
  return headOnly || length === String(body.length) ? undefined : "another content-length";
}

function shown({ status, headers, body }: Answer): string {
  return `${status} ${JSON.stringify(headers).slice(0, 2000)} ${body.toString().slice(0, 1000)}`;
}
