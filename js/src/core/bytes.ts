/** Bytes as the core reads and writes them: see `wire` in the Rust crate. */

import { IdempError } from "../errors.js";

const utf8 = new TextEncoder();

export const NOTHING = new Uint8Array(0);

const PAIRS = Array.from({ length: 256 }, (_, byte) => (byte + 256).toString(16).slice(1));

export function toHex(bytes: Uint8Array): string {
  let text = "";
  for (const byte of bytes) text += PAIRS[byte];
  return text;
}

/** Undefined where the text is not pairs of hex digits, in lower case. */
export function fromHex(text: string, bytes: Uint8Array = new Uint8Array(text.length >> 1), to = 0): Uint8Array | undefined {
  for (let at = 0; at < text.length; to++) {
    const byte = (digit(text.charCodeAt(at++)) << 4) | digit(text.charCodeAt(at++));
    // A digit that is none is negative, and so is the whole.
    if (byte < 0) return undefined;
    bytes[to] = byte;
  }
  return bytes;
}

const DIGITS = new Int8Array(128).fill(-1);
for (let digit = 0; digit < 16; digit++) DIGITS[digit.toString(16).charCodeAt(0)] = digit;

function digit(code: number): number {
  return code < 128 ? DIGITS[code]! : -1;
}

export function equal(left: Uint8Array, right: Uint8Array): boolean {
  return left.length === right.length && left.every((byte, at) => byte === right[at]);
}

/** Text in UTF-8; undefined where it has half of a surrogate pair, which would become another text. */
export function encoded(text: string): Uint8Array | undefined {
  return /\p{Surrogate}/u.test(text) ? undefined : utf8.encode(text);
}

/** The buffer of the last one that was written, for the next. */
let spare: Uint8Array | undefined;

/** Writes what the core reads. */
export class Out {
  length = 0;
  private view: DataView;

  constructor(public bytes = spare ?? new Uint8Array(1024)) {
    this.view = new DataView(bytes.buffer);
    spare = undefined;
  }

  /** Where so many go. It may give what is written to a new place, so it is asked first. */
  room(count: number): number {
    const at = this.length;
    this.length += count;
    if (this.length > this.bytes.length) {
      const longer = new Uint8Array(2 * this.length);
      longer.set(this.bytes);
      this.bytes = longer;
      this.view = new DataView(longer.buffer);
    }
    return at;
  }

  byte(value: number | boolean): this {
    const at = this.room(1);
    this.view.setUint8(at, Number(value));
    return this;
  }

  short(value: number): this {
    const at = this.room(2);
    this.view.setUint16(at, value);
    return this;
  }

  word(value: number): this {
    const at = this.room(4);
    this.view.setUint32(at, value);
    return this;
  }

  /** A time or a span in milliseconds. */
  number(value: number): this {
    // Wrapped, a time before 1970 would be one at which everything is gone.
    if (value % 1 !== 0 || value < 0) throw new RangeError("a time or a span is no whole number, or negative");
    return this.word(value / 2 ** 32).word(value);
  }

  /** A fence, of 64 bits. */
  big(value: bigint): this {
    if (value < 0) throw new RangeError("a fence is not negative");
    const at = this.room(8);
    this.view.setBigUint64(at, value);
    return this;
  }

  raw(bytes: Uint8Array): this {
    const at = this.room(bytes.length);
    this.bytes.set(bytes, at);
    return this;
  }

  /** What is not hex becomes nothing, and the core refuses it. */
  hex(text: string): this {
    const at = this.room(text.length >> 1);
    if (!fromHex(text, this.bytes, at)) this.length = at;
    return this;
  }

  /** A part of a slot's name, cut where it is too long in either case. */
  part(text: string): this {
    const utf8 = encoded(text);
    if (utf8) return this.raw(utf8.subarray(0, 256));
    throw new IdempError("KEY_INVALID", "a key or a part of a scope is not well-formed Unicode");
  }

  /** What `write` writes, behind its length in 16 bits. */
  behindLength(write: () => void): this {
    const at = this.room(2);
    write();
    this.view.setUint16(at, this.length - at - 2);
    return this;
  }

  framed(bytes: Uint8Array): this {
    if (bytes.length > 0xffff) throw new RangeError("longer than what has its length in 16 bits");
    return this.short(bytes.length).raw(bytes);
  }

  /** The bytes; nothing may be written any more. */
  done(): Uint8Array {
    const written = this.bytes.slice(0, this.length);
    // Not what a large body has made of it.
    if (this.bytes.length < 1 << 17) spare = this.bytes;
    return written;
  }
}

/** Reads what the core wrote. */
export class In {
  protected readonly view: DataView;

  constructor(
    protected readonly bytes: Uint8Array,
    protected at = 0,
  ) {
    this.view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
  }

  byte(): number {
    return this.view.getUint8(this.at++);
  }

  flag(): boolean {
    return this.byte() === 1;
  }

  short(): number {
    this.at += 2;
    return this.view.getUint16(this.at - 2);
  }

  word(): number {
    this.at += 4;
    return this.view.getUint32(this.at - 4);
  }

  big(): bigint {
    this.at += 8;
    return this.view.getBigUint64(this.at - 8);
  }

  number(): number {
    return this.word() * 2 ** 32 + this.word();
  }

  raw(length: number): Uint8Array {
    this.at += length;
    return this.bytes.slice(this.at - length, this.at);
  }

  hex(length: number): string {
    return toHex(this.raw(length));
  }

  framed(): Uint8Array {
    return this.raw(this.short());
  }

  /** Framed bytes with their frame, and so many behind them. */
  framedAnd(more: number): Uint8Array {
    return this.raw(2 + this.view.getUint16(this.at) + more);
  }

  rest(): Uint8Array {
    return this.raw(this.bytes.length - this.at);
  }
}

/** Bytes as text, a character each. */
export function latin1(bytes: Uint8Array): string {
  // More arguments than this overflow the stack of some engine.
  if (bytes.length <= 4096) return String.fromCharCode(...bytes);
  let text = "";
  for (const byte of bytes) text += String.fromCharCode(byte);
  return text;
}

/** Writes text as bytes, one a character, and tells the greatest of them, or one that is not smaller; a
 *  character that is more than a byte becomes 0xff, which stands in no key and no media type. */
export function latin1Into(out: Out, text: string): number {
  const at = out.room(text.length);
  const { bytes } = out;
  let greatest = 0;
  for (let from = 0; from < text.length; from++) {
    const code = Math.min(text.charCodeAt(from), 255);
    bytes[at + from] = code;
    greatest |= code;
  }
  return greatest;
}
