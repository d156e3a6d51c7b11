/**
 * A slot as bytes or as text, for stores of one's own that keep one value a key. Version 1:
 *
 * | bytes | what |
 * |---|---|
 * | 1 | the version |
 * | 16 | `rev` |
 * | 8, 8 | `leaseUntil`, `goneAt`, unsigned |
 * | 2 | the length of `head` |
 * | 4 | the length of `body` |
 * | | `head`, then `body` |
 *
 * Numbers are big-endian. Every length is checked when it is read: what was cut off or prolonged is
 * corrupt, and corrupt is an error, never a vacancy.
 */

import { fromBase64, toBase64 } from "../base64.js";
import { NOTHING, fromHex, toHex } from "../core/bytes.js";
import { StoreError } from "../errors.js";
import type { Slot } from "../store.js";

const VERSION = 1;
const HEAD_AT = 39;

/** A slot as bytes. */
export function encodeSlot(slot: Slot): Uint8Array {
  const bytes = new Uint8Array(HEAD_AT + slot.head.length + slot.body.length);
  const view = new DataView(bytes.buffer);
  bytes[0] = VERSION;
  bytes.set(fromHex(slot.rev) ?? NOTHING, 1);
  view.setBigUint64(17, BigInt(slot.leaseUntil));
  view.setBigUint64(25, BigInt(slot.goneAt));
  view.setUint16(33, slot.head.length);
  view.setUint32(35, slot.body.length);
  bytes.set(slot.head, HEAD_AT);
  bytes.set(slot.body, HEAD_AT + slot.head.length);
  return bytes;
}

/**
 * The slot in bytes that {@link encodeSlot} made. Its `head` and `body` are copies.
 *
 * @throws StoreError `STORE_CORRUPT` where it did not make them, or not this version of it.
 */
export function decodeSlot(bytes: Uint8Array): Slot {
  if (bytes.length < HEAD_AT) throw corrupt("it is too short to be a slot");
  if (bytes[0] !== VERSION) throw corrupt(`it is of version ${bytes[0]}, and ${VERSION} is known`);
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
  const bodyAt = HEAD_AT + view.getUint16(33);
  if (bytes.length !== bodyAt + view.getUint32(35)) throw corrupt("it is not as long as it says");
  const leaseUntil = Number(view.getBigUint64(17));
  const goneAt = Number(view.getBigUint64(25));
  if (!Number.isSafeInteger(leaseUntil) || !Number.isSafeInteger(goneAt)) throw corrupt("its time is none");
  return {
    rev: toHex(bytes.subarray(1, 17)),
    leaseUntil,
    goneAt,
    head: new Uint8Array(bytes.subarray(HEAD_AT, bodyAt)),
    body: new Uint8Array(bytes.subarray(bodyAt)),
  };
}

/**
 * `goneAt` alone of a slot in text: it costs nothing, however large the slot is.
 *
 * @throws StoreError `STORE_CORRUPT`, as far as it was looked at.
 */
export function goneAtOfText(text: string): number {
  const bytes = bytesOf(text.slice(0, 44));
  if (bytes.length < 33 || bytes[0] !== VERSION) throw corrupt("it does not begin like a slot");
  return Number(new DataView(bytes.buffer).getBigUint64(25));
}

/** A slot as text: {@link encodeSlot} in base64. */
export function slotToText(slot: Slot): string {
  return toBase64(encodeSlot(slot));
}

/**
 * The slot in text that {@link slotToText} made.
 *
 * @throws StoreError `STORE_CORRUPT` where it did not make it.
 */
export function slotFromText(text: string): Slot {
  return decodeSlot(bytesOf(text));
}

function bytesOf(text: string): Uint8Array {
  try {
    return fromBase64(text);
  } catch {
    throw corrupt("it is no base64");
  }
}

function corrupt(advice: string): StoreError {
  return new StoreError("STORE_CORRUPT", { advice });
}
