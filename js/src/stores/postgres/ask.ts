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
  if (put === "remove") return [tenant, key, expected, null, interval(0), interval(0), NOTHING, NOTHING];
  const { rev, leaseFor, keepFor, head, body } = put;
  if (body.length > LONGEST_BODY) throw unusable("a body has at most 256 MiB");
  return [tenant, key, expected, bytes(rev), interval(leaseFor), interval(keepFor), head, body];
}

/** The parameters of a claim: it expects nothing, and does not say so. */
export function claiming([tenant, key, , ...others]: Parameter[]): Parameter[] {
  return [tenant as string, key as Uint8Array, ...others];
}

/** Whether it expects nothing and puts something. */
export function claims({ expect, put }: Swap): boolean {
  return expect === "vacant" && put !== "remove";
}

/** Whether it replaces what is known by something without a lease, or by nothing. */
export function ends({ expect, put }: Swap): boolean {
  return expect !== "vacant" && (put === "remove" || put.leaseFor === 0);
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

/** At most 100,000 years of whole milliseconds: the server's times end in 294276. In hours, minutes and
 *  seconds: before version 15 a server reads no number that takes more than 32 bits. */
function interval(span: number): string {
  const millis = Math.min(Math.trunc(span), 100_000 * 365 * 86_400_000);
  const seconds = Math.floor(millis / 1000);
  const [hours, minutes] = [Math.floor(seconds / 3600), Math.floor(seconds / 60) % 60];
  return `${hours}:${minutes}:${seconds % 60}.${String(millis % 1000).padStart(3, "0")}`;
}

/** Reads what a claim answers: the columns of `claim.sql`. A setting of the statement's own may stand
 *  before them. `undefined` where the record was going as it was read: then it is to be asked again, by the
 *  function that tells such moments apart. */
export function claimed(row: readonly Value[]): Swapped | undefined {
  const columns = row.slice(-7);
  if (columns.length < 7) throw corrupt("the answer has not the columns that were asked for");
  if (columns[6] !== null) return answer(columns);
  const [now, leaseUntil, goneAt, rev, head, body] = columns.slice(0, 6).map((value) => bytea(value ?? "")) as Elements;
  const slot = there(leaseUntil, goneAt, rev, head, body);
  const swapped = { now: time(now), won: false as const, slot };
  return swapped.now < slot.goneAt ? swapped : undefined;
}

/** Reads the answer, in one of the three forms that `0001_table.sql` tells; `undefined` where another
 *  transaction holds the record. A setting of the statement's own may stand before it. */
export function answer(row: readonly Value[]): Swapped | undefined {
  const value = row.at(-1);
  if (value === undefined) throw corrupt("the answer has not the column that was asked for");
  if (value === null) return undefined;
  const said = bytea(value);
  if (said.length === 8) return { now: time(said), won: true };
  if (said.length === 9 && said[8] === 0) return { now: time(said.subarray(0, 8)), won: false, slot: undefined };
  const [now, leaseUntil, goneAt, rev, head, body] = elements(said);
  return { now: time(now), won: false, slot: there(leaseUntil, goneAt, rev, head, body) };
}

function there(leaseUntil: Uint8Array, goneAt: Uint8Array, rev: Uint8Array, head: Uint8Array, body: Uint8Array) {
  if (rev.length !== 16) throw corrupt("a revision in the table has a length that none has");
  return { rev: Buffer.from(rev).toString("hex"), leaseUntil: time(leaseUntil), goneAt: time(goneAt), head, body };
}

type Elements = [Uint8Array, Uint8Array, Uint8Array, Uint8Array, Uint8Array, Uint8Array];

/** The six elements of an array in the form of the wire: after five numbers of 32 bits each behind its
 *  length. */
function elements(array: Uint8Array): Elements {
  const view = new DataView(array.buffer, array.byteOffset, array.length);
  const read: Uint8Array[] = [];
  let at = 20;
  while (read.length < 6) {
    if (at + 4 > array.length) throw unreadable();
    const length = view.getInt32(at);
    at += 4;
    if (length < 0 || at + length > array.length) throw unreadable();
    read.push(array.slice(at, (at += length)));
  }
  if (at !== array.length) throw unreadable();
  return read as Elements;
}

/** As `timestamptz_send` writes it: microseconds since 2000. Before 1970 there is nothing. The clock is
 *  rounded as the server rounds it; all other times are whole milliseconds. */
function time(value: Uint8Array): number {
  if (value.length !== 8) throw unreadable();
  const micros = new DataView(value.buffer, value.byteOffset, 8).getBigInt64(0);
  const millis = Number((micros + YEAR_2000 + 500n) / 1000n);
  if (!Number.isSafeInteger(millis)) throw unreadable();
  return Math.max(0, millis);
}

const YEAR_2000 = 946_684_800_000_000n;

/** A number of 64 bits, as far as JavaScript counts. */
export function whole(value: Value | undefined): number {
  const number = /^-?\d{1,20}$/.test(value ?? "") ? Number(value) : NaN;
  if (Number.isSafeInteger(number)) return number;
  throw unreadable();
}

function bytea(value: string): Uint8Array {
  // In the old form no backslash stands before a letter.
  if (!value.startsWith("\\x")) throw unusable("the server writes bytea in its old form; set bytea_output to hex");
  const read = bytes(value.slice(2));
  if (2 * read.length !== value.length - 2) throw unreadable();
  return read;
}

function bytes(hex: string): Uint8Array {
  return new Uint8Array(Buffer.from(hex, "hex"));
}

function unreadable() {
  return corrupt("the answer is none that any version of the functions gives");
}
