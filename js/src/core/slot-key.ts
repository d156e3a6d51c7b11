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
  const name = slotName(scope, key);
  ask(NAME, name);
  return toHex(name);
}

/** The name in bytes. The core refuses a wrong one wherever it reads it. */
export function slotName(scope: Scope, key: string): Uint8Array {
  return framed(scope).raw(short(key)).done();
}

/** What the names of all slots of a scope begin with: for {@link Store.forget}. */
export function scopePrefix(scope: Scope): SlotKey {
  return slotKey(scope, "k").slice(0, -2);
}

function framed(scope: Scope): Out {
  const out = new Out().byte(Math.min(scope.length, 255));
  for (const part of scope) out.framed(short(part));
  return out;
}

/** Cut where it is too long in either case. */
function short(text: string): Uint8Array {
  const utf8 = encoded(text);
  if (utf8) return utf8.length > 256 ? utf8.subarray(0, 256) : utf8;
  throw new IdempError("KEY_INVALID", "a key or a part of a scope is not well-formed Unicode");
}
