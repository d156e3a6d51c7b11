import { encoded } from "../core/bytes.js";
import { replayedHead } from "../core/http.js";

/**
 * For `createIdempotency({ label })`: the member `name` of the JSON object that was stored or published,
 * also where it is the body of a stored HTTP response.
 *
 * Only a number, or a text of at most 128 bytes without control characters, is one to write into a log.
 * A whole number is written with all its digits, where it has at most 64 bits.
 *
 * ```ts
 * const idem = createIdempotency({ store, onEvent: logEvents(), label: jsonLabel("task_id") });
 * ```
 */
export function jsonLabel(name: string): (outcome: Uint8Array) => string | undefined {
  return (outcome) => {
    const text = textOf(bodyOf(outcome));
    if (text === undefined) return undefined;
    const value = memberOf(text, name);
    if (typeof value === "number") return Number.isSafeInteger(value) ? String(value) : numeral(text, name, value);
    if (typeof value !== "string" || /\p{Cc}/u.test(value)) return undefined;
    const utf8 = encoded(value);
    return utf8 && utf8.length <= LONGEST ? value : undefined;
  };
}

/** In bytes. */
const LONGEST = 128;

/** What is stored of a response begins with a version, and no JSON with such a byte. */
function bodyOf(outcome: Uint8Array): Uint8Array {
  if (outcome[0] === 0x7b) return outcome;
  try {
    return outcome.subarray(replayedHead(outcome).bodyAt);
  } catch {
    return outcome;
  }
}

function textOf(bytes: Uint8Array): string | undefined {
  try {
    return utf8.decode(bytes);
  } catch {
    return undefined;
  }
}

const utf8 = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });

function memberOf(text: string, name: string): unknown {
  try {
    const json: unknown = JSON.parse(text);
    const object = typeof json === "object" && json !== null && !Array.isArray(json);
    return object && Object.hasOwn(json, name) ? (json as Record<string, unknown>)[name] : undefined;
  } catch {
    return undefined;
  }
}

/** A number that is no safe integer. `JSON.parse` may have made another one of it: so of a whole one the
 *  digits in the text count. */
function numeral(text: string, name: string, value: number): string | undefined {
  if (!Number.isInteger(value)) return Number.isFinite(value) ? String(value) : undefined;
  let depth = 0;
  let key: string | undefined;
  let found: string | undefined;
  for (const [token] of text.matchAll(/"(?:[^"\\]|\\.)*"|[{}[\]:,]|[^\s{}[\]:,"]+/g)) {
    if (token === ":") continue;
    if (depth === 1 && key === name) found = token;
    key = depth === 1 && key === undefined && token[0] === '"' ? (JSON.parse(token) as string) : undefined;
    if (token === "{" || token === "[") depth++;
    if (token === "}" || token === "]") depth--;
  }
  if (found === undefined || !/^-?\d+$/.test(found)) return undefined;
  const whole = BigInt(found);
  return BigInt.asUintN(64, whole) === whole || BigInt.asIntN(64, whole) === whole ? String(whole) : undefined;
}
