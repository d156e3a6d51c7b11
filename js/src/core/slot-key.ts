import { IdempError } from "../errors.js";
import type { SlotKey } from "../store.js";
import { NAME, ask } from "./ask.js";
import { Out, encoded, toHex } from "./bytes.js";

/** Who and what a key belongs to: 1 to 8 parts of 1 to 255 bytes. */
export type Scope = readonly string[];

/**
 * The name of the slot of a key.
 *
 * @throws IdempError KEY_INVALID where a part or the key is empty, too long, or holds a control
 * character or half of a surrogate pair.
 */
export function slotKey(scope: Scope, key: string): SlotKey {
  const name = framed(scope).raw(bytes(key)).done();
  ask(NAME, name);
  return toHex(name);
}

/** What the names of all slots of a scope begin with: for {@link Store.forget}. */
export function scopePrefix(scope: Scope): SlotKey {
  return slotKey(scope, "k").slice(0, -2);
}

function framed(scope: Scope): Out {
  const out = new Out().byte(Math.min(scope.length, 255));
  for (const part of scope) {
    const text = bytes(part);
    out.framed(text.length < 65536 ? text : text.subarray(0, 256)); // too long in either case
  }
  return out;
}

function bytes(text: string): Uint8Array {
  const utf8 = encoded(text);
  if (utf8) return utf8;
  throw new IdempError("KEY_INVALID", "a key or a part of a scope is not well-formed Unicode");
}
