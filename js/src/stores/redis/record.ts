/**
 * The value of a key, as the crate `idemp-redis` has it: the version of this form in one byte, the
 * revision (16), how long before the key's expiry the lease ends (8, little-endian milliseconds), the
 * length of the head (1), the head, the body. The key's expiry is `goneAt`: so deadlines need no clock
 * but the server's.
 */
import { Buffer } from "node:buffer";
import type { NewSlot, Rev, Slot } from "../../store.js";
import { fault } from "./fault.js";

const VERSION = 1;
const HEAD_AT = 26;
/** Beyond it, a script's numbers have no milliseconds. 142,000 years. */
const LONGEST = 2 ** 52;

/** The value for a slot that replaces nothing. */
export function encode(put: NewSlot): Buffer {
  const before = Buffer.alloc(8);
  before.writeBigInt64LE(BigInt(millis(put.keepFor) - millis(put.leaseFor)));
  return Buffer.concat([versionAndRev(put.rev), before, rest(put)]);
}

export function versionAndRev(rev: Rev): Buffer {
  return Buffer.from(`01${rev}`, "hex");
}

/** What lies behind the deadlines. */
export function rest({ head, body }: NewSlot): Buffer {
  if (head.length > 255) throw fault("too-long", "the head of a record has at most 255 bytes");
  return Buffer.concat([Uint8Array.of(head.length), head, body]);
}

/** The slot of a key with this value and expiry. Its bytes are copies. */
export function decode(value: Uint8Array, goneAt: number): Slot {
  // A key that never expires was not written by a store of idemp, or was made to stay by hand.
  if (value.length === 0 || goneAt < 0) throw damaged();
  const version = value[0] as number;
  if (version > VERSION) throw fault("newer", `the record has version ${version}, and ${VERSION} is known; update idemp`);
  const bodyAt = HEAD_AT + (value[25] ?? 0);
  if (version < VERSION || value.length < HEAD_AT || value.length < bodyAt) throw damaged();
  const view = new DataView(value.buffer, value.byteOffset, value.length);
  const leaseUntil = BigInt(goneAt) - view.getBigInt64(17, true);
  if (leaseUntil < 0n || leaseUntil > BigInt(Number.MAX_SAFE_INTEGER)) throw damaged();
  return {
    rev: Buffer.from(value.buffer, value.byteOffset + 1, 16).toString("hex"),
    leaseUntil: Number(leaseUntil),
    goneAt,
    // `slice` of a Buffer copies nothing.
    head: new Uint8Array(value.subarray(HEAD_AT, bodyAt)),
    body: new Uint8Array(value.subarray(bodyAt)),
  };
}

/** A span that the server can count. */
export function millis(span: number): number {
  if (span <= LONGEST) return span;
  throw fault("too-long", "a lease or a retention is longer than 140,000 years");
}

export function damaged() {
  return fault("damaged", "what lies under the key is not a record, or a damaged one");
}
