/** The HTTP rules, and all of the fingerprint: what the middleware of servers is made of. Only the core
 *  for servers has them; that of a page refuses. */
import { IdempError } from "../errors.js";
import { answered, ask, type Refusing } from "./ask.js";
import { In, NOTHING, Out, encoded, latin1, latin1Into, toHex } from "./bytes.js";
import { canonicalError } from "./canonical.js";
import type { Fingerprint } from "./fingerprint.js";
import { core } from "./registry.js";

const CANONICALIZE_AS = 16;
const FINGERPRINT_REQUEST = 17;
const KEY_OF_HEADER = 18;
const HEADER_OF_KEY = 19;
const DISPOSITION = 20;
const STORED = 21;
const REPLAYED = 22;
const REFUSAL = 23;
const REQUEST_ID = 24;

/** A name, in any case, and a value: as bytes, or as text with one character a byte. */
export type Header = readonly [name: string, value: Uint8Array | string];

/** What becomes of the slot after an execution. */
export type Disposition = "remember" | "release" | "forget" | "fence";

/** How numbers are written: see `NumberMode` of the Rust crate. */
export type NumberMode = "exact" | "rfc8785" | "rfc8785-strict";

/** What counts in a request beside its body. */
export interface RequestRules {
  readonly numbers?: NumberMode | undefined;
  /** A JSON body without a canonical form is an error; otherwise its bytes count. */
  readonly strict?: boolean | undefined;
  readonly method?: string | undefined;
  readonly path?: string | undefined;
  /** Without the question mark. */
  readonly query?: string | undefined;
  readonly contentType?: string | undefined;
  readonly headers?: readonly Header[] | undefined;
  /** Anything else that counts, by a name of the application's choice. */
  readonly parts?: readonly Header[] | undefined;
  /** JSON Pointers: only these fields of the body count. */
  readonly select?: readonly string[] | undefined;
  /** JSON Pointers: these fields do not count. */
  readonly exclude?: readonly string[] | undefined;
  /** The body is not JSON. */
  readonly raw?: boolean | undefined;
}

/** Differences from the table of `StatusTable`. */
export interface StatusTable {
  readonly classes?: Readonly<Record<number, Disposition>>;
  readonly statuses?: Readonly<Record<number, Disposition>>;
  readonly thrown?: Disposition;
}

/** A response that is replayed: its body is the rest of what was stored, from `bodyAt` on. */
export interface ReplayedHead {
  readonly status: number;
  readonly headers: readonly (readonly [name: string, value: Uint8Array])[];
  readonly bodyAt: number;
  /** None for statuses that say nothing of a body. */
  readonly contentLength: number | undefined;
}

/** Why a request is not executed, by its code. */
export interface Refused {
  readonly code: string;
  readonly profile: "default" | "ietf";
  readonly requestId: string;
  readonly key?: string | undefined;
  /** For `Retry-After`. */
  readonly retryAfterSeconds?: number | undefined;
}

/** An answer to send as it is. */
export interface ErrorAnswer {
  readonly status: number;
  readonly headers: readonly (readonly [name: string, value: string])[];
  readonly body: string;
}

/** The canonical form in any number mode. @throws CanonicalError */
export function canonicalizeAs(text: Uint8Array, mode: NumberMode): Uint8Array {
  return ask(CANONICALIZE_AS, new Out().byte(MODES.indexOf(mode)).raw(text).done(), refusing);
}

/**
 * The fingerprint of a request.
 *
 * @throws CanonicalError where the rules are strict and the body has no canonical form; IdempError
 * POINTER_INVALID where a field is not named by a JSON Pointer, or none or the whole body is.
 */
export function fingerprintRequest(rules: RequestRules, body: Uint8Array): Fingerprint {
  const { numbers = "exact", strict = false, raw = false, headers = NONE, parts = NONE } = rules;
  // A desk is not to grow by a large body, since it stays that large.
  const out = (body.length > LARGE ? new Out() : blank()).byte(MODES.indexOf(numbers)).byte(strict).byte(raw);
  optional(out, rules.method);
  optional(out, rules.path);
  optional(out, rules.query);
  optional(out, rules.contentType);
  pairs(pairs(out, headers), parts);
  for (const pointers of [rules.select, rules.exclude]) {
    out.byte(pointers !== undefined);
    if (pointers) texts(out, pointers);
  }
  const told = body.length > LARGE ? ask(FINGERPRINT_REQUEST, out.raw(body).done(), refusing) : put(FINGERPRINT_REQUEST, out.raw(body));
  return (core().desk?.hex(told) ?? toHex(told)) as Fingerprint;
}

/**
 * The key that the values of a request's `Idempotency-Key` headers name, if there is one.
 *
 * @throws IdempError KEY_HEADER_INVALID, with why: a list, a repeated header, an empty or too long key.
 */
export function keyOfHeader(values: readonly (Uint8Array | string)[], strict = false): string | undefined {
  const out = blank().byte(strict).short(values.length);
  for (const value of values) long(out, value);
  const from = ruled(KEY_OF_HEADER, out, "KEY_HEADER_INVALID");
  return from.flag() ? latin1(from.rest()) : undefined;
}

/** A key as the value of the header (RFC 9651). @throws IdempError KEY_HEADER_INVALID */
export function headerOfKey(key: string): string {
  return rule(HEADER_OF_KEY, { key }, "KEY_HEADER_INVALID");
}

/** What becomes of the slot; without a status, after a handler that threw. @throws IdempError
 *  STATUS_TABLE_INVALID */
export function dispositionOf(table: StatusTable, status: number | undefined): Disposition {
  return rule(DISPOSITION, { ...table, status: status ?? null }, "STATUS_TABLE_INVALID");
}

/**
 * What is stored of a response, up to its body: `allow` are the route's own headers beside the usual.
 *
 * @throws IdempError NOT_STORABLE, with why. It can still be sent.
 */
export function storedHead(
  response: { status: number; headers: readonly Header[]; bodyLength: number },
  allow: readonly string[] = [],
): Uint8Array {
  const { status, headers, bodyLength } = response;
  const out = texts(blank().short(status).number(bodyLength), allow);
  return ruled(STORED, pairs(out, headers), "NOT_STORABLE").rest();
}

/** What {@link storedHead} wrote, and a replay's own headers. @throws IdempError RESPONSE_CORRUPT */
export function replayedHead(stored: Uint8Array): ReplayedHead {
  const out = blank().number(stored.length).raw(stored.subarray(0, LONGEST_HEAD));
  const from = ruled(REPLAYED, out, "RESPONSE_CORRUPT");
  return {
    status: from.short(),
    bodyAt: from.word(),
    contentLength: from.flag() ? from.number() : undefined,
    headers: Array.from({ length: from.short() }, () => [latin1(from.raw(from.word())), from.raw(from.word())] as const),
  };
}

/** The answer to a request that is not executed. @throws IdempError REFUSAL_INVALID */
export function refusalAnswer(refused: Refused): ErrorAnswer {
  return rule(REFUSAL, { key: null, ...refused }, "REFUSAL_INVALID");
}

/** The id of a request: the one that came with it, if it may be adopted, or one of 4 random bytes. */
export function requestId(adopt: string | undefined, random: Uint8Array): string {
  return rule(REQUEST_ID, { adopt: adopt ?? null, random: toHex(random) }, "REQUEST_ID_INVALID");
}

const MODES: readonly NumberMode[] = ["exact", "rfc8785", "rfc8785-strict"];

/** 64 headers of 16 KiB in all, with their lengths, and what stands around them. */
const LONGEST_HEAD = 16 * 1024 + 64 * 4 + 12;

const NONE: readonly never[] = [];

/** In bytes, of a body. */
const LARGE = 32 * 1024;

/** An empty sheet for a question. What is read of its answer is copied before the next one is asked. */
function blank(): Out {
  return core().desk?.out() ?? new Out();
}

/** Asks what is written there. */
function put(question: number, out: Out): Uint8Array {
  const { desk } = core();
  return desk ? answered(desk.ask(question, out), refusing) : ask(question, out.done(), refusing);
}

/** Behind its length in 32 bits. */
function long(out: Out, bytes: Uint8Array | string): Out {
  out.word(bytes.length);
  if (typeof bytes !== "string") return out.raw(bytes);
  latin1Into(out, bytes);
  return out;
}

function optional(out: Out, part: string | undefined): void {
  out.byte(part !== undefined);
  if (part !== undefined) text(out, part);
}

function text(out: Out, text: string): Out {
  const at = out.length;
  if (latin1Into(out.word(text.length), text) < 128) return out;
  out.length = at;
  const utf8 = encoded(text);
  if (!utf8) throw new IdempError("MALFORMED", "a text for the core holds half of a surrogate pair");
  return long(out, utf8);
}

function texts(out: Out, list: readonly string[]): Out {
  out.short(list.length);
  for (const each of list) text(out, each);
  return out;
}

function pairs(out: Out, list: readonly Header[]): Out {
  out.short(list.length);
  for (const [name, value] of list) long(text(out, name), value);
  return out;
}

/** What a rule answers. */
function ruled(question: number, asked: Out, code: string): In {
  const from = new In(put(question, asked));
  if (from.flag()) return from;
  throw new IdempError(code, latin1(from.rest()));
}

function utf8(question: unknown): Uint8Array {
  return encoded(JSON.stringify(question)) ?? NOTHING;
}

function rule<T>(question: number, asked: unknown, code: string): T {
  const answer = JSON.parse(new TextDecoder().decode(ask(question, utf8(asked)))) as { ok?: T; error?: string };
  if (answer.error !== undefined) throw new IdempError(code, answer.error);
  return answer.ok as T;
}

const refusing: Refusing = (code, detail) => {
  const pointer = POINTERS[code];
  return pointer === undefined ? canonicalError(code, detail) : new IdempError("POINTER_INVALID", pointer);
};

const POINTERS: Record<number, string> = {
  80: "a json pointer is empty or starts with a slash",
  81: "a tilde in a json pointer is followed by 0 or 1",
  82: "the whole body cannot be left out",
  83: "a selection names at least one field",
};
