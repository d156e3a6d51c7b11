/** A swap as parameters of the SQL functions, and a row as its answer: `ask.rs` of the crate
 *  `idemp-postgres` in JavaScript. */
import { Buffer } from "node:buffer";
import { NOTHING } from "../../core/bytes.js";
import type { Swap, Swapped } from "../../store.js";
import { corrupt, unusable } from "./fault.js";

export type Parameter = string | boolean | Uint8Array | null;

/** A column as text. */
export type Value = string | null;

/** The longest body, in bytes. */
const LONGEST_BODY = 256 * 1024 * 1024;

/** The parameters of the functions; what comes behind them is each one's own. */
export function parameters({ slot, expect, put }: Swap): Parameter[] {
  const [tenant, key] = columns(slot);
  const expected = expect === "vacant" ? null : bytes(expect.rev);
  if (put === "remove") return [tenant, key, expected, null, "0", "0", NOTHING, NOTHING];
  const { rev, leaseFor, keepFor, head, body } = put;
  if (body.length > LONGEST_BODY) throw unusable("a body has at most 256 MiB");
  return [tenant, key, expected, bytes(rev), millis(leaseFor), millis(keepFor), head, body];
}

/** Whether it expects nothing and puts something. */
export function claims({ expect, put }: Swap): boolean {
  return expect === "vacant" && put !== "remove";
}

/** Whether it replaces what is known by something without a lease, or by nothing. */
export function ends({ expect, put }: Swap): boolean {
  return expect !== "vacant" && (put === "remove" || put.leaseFor === 0);
}

/** Without the third, which a claim does not have. */
export function ofAClaim([tenant, key, , ...others]: Parameter[]): Parameter[] {
  return [tenant as Parameter, key as Parameter, ...others];
}

/** The tenant is the first part of the scope. The key is the rest of the slot's name as it is: the
 *  number of parts, the other parts behind their lengths, and the key. */
function columns(slot: string): [tenant: string, key: Uint8Array] {
  const name = bytes(slot);
  const end = 3 + (((name[1] as number) << 8) | (name[2] as number));
  const key = new Uint8Array(1 + name.length - end);
  key[0] = name[0] as number;
  key.set(name.subarray(end), 1);
  return [text.decode(name.subarray(3, end)), key];
}

const text = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });

/** 2^60 milliseconds are 36 million years: a sum of two does not overflow. */
function millis(span: number): string {
  return String(BigInt(Math.min(span, 2 ** 60)));
}

/** Reads the answer; `undefined` where another transaction holds the record. */
export function answer(row: readonly Value[]): Swapped | undefined {
  if (row.length !== 7) throw corrupt("the answer has not the columns that were asked for");
  const [now, won, rev, leaseUntil, goneAt, head, body] = row as [Value, Value, Value, Value, Value, Value, Value];
  if (won === null) return undefined;
  if (boolean(won)) return { now: time(now), won: true };
  if (rev === null) return { now: time(now), won: false, slot: undefined };
  const slot = { rev: hex(rev), leaseUntil: time(leaseUntil), goneAt: time(goneAt), head: bytea(head), body: bytea(body) };
  if (slot.rev.length !== 32) throw corrupt("a revision in the table has a length that none has");
  return { now: time(now), won: false, slot };
}

function boolean(value: Value): boolean {
  if (value === "t" || value === "f") return value === "t";
  throw unreadable();
}

/** Before 1970 there is nothing. */
function time(value: Value): number {
  return Math.max(0, whole(value));
}

/** A number of 64 bits, as far as JavaScript counts. */
export function whole(value: Value | undefined): number {
  const number = /^-?\d{1,20}$/.test(value ?? "") ? Number(value) : NaN;
  if (Number.isSafeInteger(number)) return number;
  throw unreadable();
}

function hex(value: Value): string {
  if (value === null) throw unreadable();
  // In the old form no backslash stands alone.
  if (!value.startsWith("\\x")) throw unusable("the server writes bytea in its old form; set bytea_output to hex");
  return value.slice(2);
}

function bytea(value: Value): Uint8Array {
  const text = hex(value);
  const read = bytes(text);
  if (2 * read.length !== text.length) throw unreadable();
  return read;
}

function bytes(hex: string): Uint8Array {
  return new Uint8Array(Buffer.from(hex, "hex"));
}

function unreadable() {
  return corrupt("the answer is none that any version of the functions gives");
}
