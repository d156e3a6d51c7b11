/** Answers of the gate on a response of `node:http`. */
import type { OutgoingHttpHeaders, ServerResponse } from "node:http";
import type { Answer } from "../gate/answer.js";

/** Sends it. Headers that are set already stay, where the answer has none of that name: they are of
 *  whoever stands outside, such as CORS. */
export function send(answer: Answer, res: ServerResponse, end: ServerResponse["end"] = res.end): void {
  const { status, headers, body } = answer;
  res.statusCode = status;
  const values: Record<string, string | string[]> = Object.create(null) as Record<string, string | string[]>;
  for (const [name, value] of headers) {
    const before = values[name];
    if (before === undefined) values[name] = value;
    else if (typeof before === "string") values[name] = [before, value];
    else before.push(value);
  }
  for (const name in values) res.setHeader(name, values[name] as string | string[]);
  if (body.length > 0) end.call(res, bufferOf(body), "utf8", undefined);
  else end.call(res, undefined, "utf8", undefined);
}

/** The headers of a response, a line each. */
export function linesOf(res: ServerResponse): (readonly [name: string, value: string])[] {
  const lines: (readonly [string, string])[] = [];
  const headers = res.getHeaders();
  for (const name in headers) {
    const value = headers[name];
    if (Array.isArray(value)) for (const one of value) lines.push([name, String(one)]);
    else lines.push([name, String(value)]);
  }
  return lines;
}

/** Takes back what was set since. */
export function restoreHeaders(res: ServerResponse, before: OutgoingHttpHeaders): void {
  for (const name of res.getHeaderNames()) if (!(name in before)) res.removeHeader(name);
  for (const name in before) res.setHeader(name, before[name] as string);
}

/** Sets what `writeHead` was given: an object, pairs, or names and values by turns. */
export function setAll(res: ServerResponse, headers: unknown): void {
  if (headers === undefined || headers === null) return;
  if (!Array.isArray(headers)) {
    const given = headers as OutgoingHttpHeaders;
    for (const name of Object.keys(given)) if (name) res.setHeader(name, given[name] as string);
    return;
  }
  const lines = Array.isArray(headers[0]) ? (headers as unknown[][]).flat(1) : (headers as unknown[]);
  if (lines.length % 2 !== 0) {
    throw coded(TypeError, "ERR_INVALID_ARG_VALUE", "The argument 'headers' is invalid: a name without a value");
  }
  for (let at = 0; at < lines.length; at += 2) res.removeHeader(lines[at] as string);
  for (let at = 0; at < lines.length; at += 2) res.appendHeader(lines[at] as string, lines[at + 1] as string);
}

/** Whether a response has no body, whatever is written. */
export function bodyless(status: number, method: string | undefined): boolean {
  return status === 204 || status === 304 || status < 200 || method === "HEAD";
}

/** Its bytes, in a buffer of their own: whoever wrote it may use it for something else. */
export function owned(chunk: unknown, encoding: BufferEncoding | undefined): Buffer {
  if (typeof chunk === "string") return Buffer.from(chunk, encoding ?? "utf8");
  if (chunk instanceof Uint8Array) return Buffer.from(chunk);
  throw coded(
    TypeError,
    "ERR_INVALID_ARG_TYPE",
    'The "chunk" argument must be of type string or an instance of Buffer or Uint8Array.',
  );
}

/** The same bytes. */
export function bufferOf(bytes: Uint8Array): Buffer {
  return Buffer.isBuffer(bytes) ? bytes : Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length);
}

/** An error as `node:http` throws it. */
export function coded(type: new (message: string) => Error, code: string, message: string): Error {
  return Object.assign(new type(message), { code });
}
