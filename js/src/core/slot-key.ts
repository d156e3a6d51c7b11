import type { SlotKey } from "../store.js";
import { NAME, ask } from "./ask.js";
import { toHex } from "./bytes.js";
import { nameIn, type FramedName } from "./machine.js";

/** Who and what a key belongs to: 1 to 8 parts of 1 to 255 bytes. */
export type Scope = readonly string[];

/**
 * The name of the slot of a key.
 *
 * @throws IdempError KEY_INVALID where a part or the key is empty, too long, or holds a control
 * character or half of a surrogate pair.
 */
export function slotKey(scope: Scope, key: string): SlotKey {
  return checkedName(slotName(scope, key));
}

/** The name, in hex. @throws IdempError KEY_INVALID */
export function checkedName(slot: FramedName): SlotKey {
  const name = nameIn(slot);
  ask(NAME, name);
  return toHex(name);
}

/** What the names of all slots of a scope begin with: for {@link Store.forget}. */
export function scopePrefix(scope: Scope): SlotKey {
  return slotKey(scope, "k").slice(0, -2);
}

/** Writes the name. The core refuses a wrong one wherever it reads it. */
export function slotName(scope: Scope, key: string): FramedName {
  return (out) =>
    out.behindLength(() => {
      out.byte(Math.min(scope.length, 255));
      // More of them than core takes are refused by their number.
      for (let at = 0; at < scope.length && at < 9; at++) out.behindLength(() => out.part(scope[at]!));
      out.part(key);
    });
}
