import type { Slot } from "../store.js";

/** A copy of a slot that nobody else can change, its bytes too. */
export function ownedSlot(slot: Slot): Slot {
  // `slice` of Node's `Buffer` copies nothing.
  return { ...slot, head: new Uint8Array(slot.head), body: new Uint8Array(slot.body) };
}

/** Bytes that are all of their buffer: a part of one takes the whole of it along when it is cloned. */
export function whole(bytes: Uint8Array): Uint8Array {
  const { buffer } = bytes;
  return buffer instanceof ArrayBuffer && buffer.byteLength === bytes.length ? bytes : new Uint8Array(bytes);
}
