/** The vectors of what only the core for servers has: fingerprints of whole requests, and the forms of
 *  RFC 8785, which take floats. Runs in Node and, bundled, in a page. */
import { toHex } from "../src/core/bytes.js";
import { canonicalizeAs, fingerprintRequest } from "../src/core/http.js";
import { bytes, check } from "./vectors.js";

type Json = any; // eslint-disable-line

/** How many there were. Throws at the first that differs. */
export function runRequestFingerprints({ cases }: Json): number {
  for (const { name, body, input_hex, mode, fingerprint, content_type, headers, parts, ...rules } of cases) {
    const pairs = (list: [string, string][] = []) => list.map(([name, value]) => [name, bytes(value)] as const);
    delete rules.canonical_hex;
    const asked = {
      ...rules,
      ...(content_type === undefined ? {} : { contentType: content_type }),
      numbers: mode ?? "exact",
      headers: pairs(headers),
      parts: pairs(parts),
      raw: body === "raw",
    };
    check(name, fingerprintRequest(asked, bytes(input_hex)), fingerprint);
  }
  return cases.length;
}

/** As {@link runRequestFingerprints}. */
export function runRfc8785({ cases }: Json): number {
  for (const { name, input_hex, rfc8785 } of cases) check(name, form(bytes(input_hex)), rfc8785.hex);
  return cases.length;
}

function form(text: Uint8Array): string | undefined {
  try {
    return toHex(canonicalizeAs(text, "rfc8785"));
  } catch (error) {
    if ((error as { code?: string }).code !== "NOT_CANONICAL") throw error;
    return undefined;
  }
}
