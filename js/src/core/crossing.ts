/** How questions cross to the addon, and answers back: see `crossing.rs` there. */
import { IdempError, StoreError, type StoreErrorCode } from "../errors.js";
import type { Swap, Swapped } from "../store.js";
import { answered } from "./ask.js";
import { In, NOTHING, Out, latin1Into } from "./bytes.js";
import type { Call } from "./machine.js";
import type { Addon } from "./native.js";
import type { Core } from "./registry.js";

/** The bytes before an answer. */
const HEADER = 12;

/** Where the addon puts a fingerprint: in hex, and its bytes. Nothing else is written there. */
const seal = Buffer.alloc(66 + 33);
const sealed = seal.subarray(66);
/** The one that lies there. */
let made: string | undefined;

/** What is written for every request is written in the ways that are fastest here. */
class Sheet extends Out {
  /** Most are short and plain. */
  override part(text: string): this {
    const { length } = this;
    if (text.length < 256 && latin1Into(this, text) < 128) return this;
    this.length = length;
    return super.part(text);
  }

  /** A fingerprint is asked about as soon as it is made. */
  override hex(text: string): this {
    return text === made ? this.raw(sealed) : super.hex(text);
  }
}

/** What everything crosses in: a call is over, and its answer read, before the next one is written. */
export const io = new Sheet(new Uint8Array(64 * 1024));

/** Reads what stands in the buffer. It begins at a fixed place, so one is enough. */
class Answer extends In {
  readonly buffer: Buffer;

  constructor(readonly of: Uint8Array) {
    super(of);
    this.buffer = Buffer.from(of.buffer, of.byteOffset, of.length);
  }

  /** That of what was asked last. */
  static get last(): Answer {
    // A question that was longer than the buffer has made a longer one.
    if (last.of !== io.bytes) last = new Answer(io.bytes);
    return last;
  }

  get length(): number {
    return this.view.getUint32(0, true);
  }

  get body(): number {
    return this.view.getUint32(4, true);
  }

  get call(): number {
    return this.view.getUint32(8, true);
  }

  begin(): this {
    this.at = HEADER;
    return this;
  }

  /** For tokens, which nobody sees: a part of what Node has set aside for buffers, since an array of
   *  its own costs more than the rest of the call. */
  override framedAnd(more: number): Uint8Array {
    const length = 2 + this.view.getUint16(this.at) + more;
    const kept = Buffer.allocUnsafe(length);
    this.buffer.copy(kept, 0, this.at, (this.at += length));
    return kept;
  }
}

let last = new Answer(io.bytes);

/** The wire functions of the addon. */
export function nativeCore({ call, callOn, fingerprint }: Addon): Core {
  const core: Core = (question, bytes) => {
    const apart = callOn(question, bytes, io.bytes);
    return sound(apart ?? io.bytes.slice(HEADER, HEADER + Answer.last.length));
  };
  core.fingerprint = (body, json) => {
    let bytes: Uint8Array = io.bytes;
    let length: number;
    if (typeof body === "string" && body.length * 3 <= bytes.length) length = Answer.last.buffer.write(body);
    else {
      bytes = typeof body === "string" ? Buffer.from(body) : body;
      length = bytes.length;
    }
    made = undefined;
    if (!fingerprint(json, bytes, length, seal)) throw failed();
    return (made = seal.toString("latin1", 0, 66));
  };
  core.desk = {
    out: question,
    ask(number, out) {
      const apart = call(number, out.bytes, out.length);
      return sound(apart ?? out.bytes.subarray(HEADER, HEADER + Answer.last.length));
    },
    hex: hexOf,
  };
  return core;
}

/** Bytes in hex, as Node writes them. */
export function hexOf(bytes: Uint8Array): string {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length).toString("hex");
}

/** Where a question to a store is written. */
export function question(): Out {
  io.length = 0;
  return io;
}

/** The number of the call that the store has yet to answer; 0 where it has answered, or none has ended. */
export function unanswered(): number {
  return Answer.last.length === 0 ? Answer.last.call : 0;
}

/** The number of the call that was answered; 0 where none has ended. */
export function answeredCall(): number {
  return Answer.last.length === 0 ? 0 : Answer.last.call;
}

/**
 * Reads what was done. `apart` is the body that was too long for the buffer.
 *
 * @throws StoreError, or IdempError where the record cannot be read or the call is malformed.
 */
export function done<D>(call: Call<D>, apart: Uint8Array | null): D {
  return call.done(answer(), { own: call.own, known: call.known, lies: body(apart) });
}

/** Writes a question to a store itself. */
export function writeSwap(out: Out, { slot, expect, put }: Swap): Uint8Array | undefined {
  out.short(slot.length / 2).hex(slot);
  if (expect === "vacant") out.byte(0);
  else out.byte(1).hex(expect.rev);
  if (put === "remove") {
    out.byte(0);
    return undefined;
  }
  out.byte(1).hex(put.rev).number(put.leaseFor).number(put.keepFor).framed(put.head);
  out.byte(put.body.length > 0);
  return put.body;
}

/** Reads a store's reply. @throws StoreError */
export function readSwapped(apart: Uint8Array | null): Swapped {
  const from = answer();
  const now = from.number();
  switch (from.byte()) {
    case 0:
      return { now, won: true };
    case 1:
      return { now, won: false, slot: undefined };
    default: {
      const [rev, leaseUntil, goneAt] = [from.hex(16), from.number(), from.number()];
      const head = from.framed();
      return { now, won: false, slot: { rev, leaseUntil, goneAt, head, body: body(apart) ?? NOTHING } };
    }
  }
}

function answer(): In {
  const from = Answer.last.begin();
  if (from.byte() !== 1) throw failure();
  return from;
}

function body(apart: Uint8Array | null): Uint8Array | undefined {
  if (apart) return apart;
  const length = Answer.last.body;
  if (length === 0) return undefined;
  const at = HEADER + Answer.last.length;
  // A copy that nobody else has a part of: it is the user's.
  return io.bytes.slice(at, at + length);
}

const STORE_CODES: readonly StoreErrorCode[] = [
  "STORE_UNAVAILABLE",
  "STORE_FULL",
  "STORE_CORRUPT",
  "STORE_UNUSABLE",
  "STORE_CLOSED",
];

/** The error of a store by its number, from 1, and what is known of it. */
export function storeError(number: number, why: string): StoreError {
  const code = STORE_CODES[number - 1] ?? "STORE_UNAVAILABLE";
  return new StoreError(code, why === "" ? {} : { advice: why });
}

function failure(): Error {
  const at = HEADER + 2;
  const end = HEADER + Answer.last.length;
  if (io.bytes[HEADER] === 2) {
    return storeError(io.bytes[HEADER + 1] as number, Answer.last.buffer.toString("utf8", at, end));
  }
  try {
    answered(sound(io.bytes.slice(HEADER, end)));
  } catch (error) {
    return error as Error;
  }
  return failed();
}

/** @throws IdempError CORE_FAILED where a function of the core panicked. */
function sound(answer: Uint8Array): Uint8Array {
  if (answer[0] === 0 && answer[1] === 254) throw failed();
  return answer;
}

function failed(): IdempError {
  return new IdempError("CORE_FAILED", "the core failed; nothing was decided");
}
