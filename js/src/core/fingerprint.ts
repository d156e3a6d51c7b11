import { CANONICALIZE, FINGERPRINT_BYTES, FINGERPRINT_JSON, ask } from "./ask.js";
import { canonicalError } from "./canonical.js";
import { NOTHING, encoded, toHex } from "./bytes.js";
import { core } from "./registry.js";

/** A fingerprint in 66 hex digits, version first. */
export type Fingerprint = string & { readonly fingerprint: unique symbol };

const utf8 = new TextEncoder();

/**
 * The fingerprint of a value, by what `JSON.stringify` writes of it; of bytes, by the bytes; of
 * `undefined`, that of an empty body.
 *
 * @throws TypeError where the value has no JSON form: a cycle, a bigint, a function; or one that shows
 * nothing of it, so that all of its kind would be the same: a promise, a `Map`, a `FormData`, a file.
 */
export function fingerprintOf(payload: unknown): Fingerprint {
  if (payload === undefined) return fingerprintBytes(NOTHING);
  if (payload instanceof Uint8Array) return fingerprintBytes(payload);
  if (payload instanceof ArrayBuffer) return fingerprintBytes(new Uint8Array(payload));
  let text: string | undefined = JSON.stringify(payload);
  // Seldom there, and only then is it looked at what it stands for.
  if (text?.includes("{}")) text = JSON.stringify(payload, shown);
  if (text === undefined) throw new TypeError("the payload has no JSON form to make a fingerprint of");
  return fingerprintJson(text);
}

function shown(_: string, value: unknown): unknown {
  if (typeof value === "object" && value !== null && !Array.isArray(value)) {
    const kind = Object.prototype.toString.call(value);
    if (kind !== "[object Object]" && JSON.stringify(value) === "{}") {
      throw new TypeError(`JSON shows nothing of ${kind}: make the payload of what is in it`);
    }
  }
  return value;
}

/**
 * The fingerprint of a JSON text: of its canonical form or, where it has none, of its bytes. Numbers
 * count by their exact decimal value; white space, the order of members and escapes do not count.
 *
 * @throws TypeError where half of a surrogate pair stands in a string, which no bytes stand for.
 */
export function fingerprintJson(text: string | Uint8Array): Fingerprint {
  return fingerprint(sound(text), true);
}

/** The fingerprint of a body that is not JSON: its bytes as they are. */
export function fingerprintBytes(body: Uint8Array): Fingerprint {
  return fingerprint(body, false);
}

function fingerprint(body: string | Uint8Array, json: boolean): Fingerprint {
  const own = core().fingerprint;
  if (own) return own(body, json) as Fingerprint;
  return toHex(ask(json ? FINGERPRINT_JSON : FINGERPRINT_BYTES, bytes(body))) as Fingerprint;
}

/**
 * The canonical form of a JSON text: RFC 8785, but with numbers kept exact.
 *
 * @throws CanonicalError with the offset in bytes where the text has none.
 */
export function canonicalize(text: string | Uint8Array): Uint8Array {
  return ask(CANONICALIZE, bytes(sound(text)), canonicalError);
}

function bytes(text: string | Uint8Array): Uint8Array {
  return typeof text === "string" ? utf8.encode(text) : text;
}

function sound(text: string | Uint8Array): string | Uint8Array {
  if (typeof text !== "string") return text;
  // Engines since 2023 look faster themselves.
  const sound = (text as { isWellFormed?(): boolean }).isWellFormed?.() ?? encoded(text);
  if (!sound) throw new TypeError("the text holds half of a surrogate pair");
  return text;
}
