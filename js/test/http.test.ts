/** The HTTP rules for servers, by the vectors of the project: what core gives natively. */
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";
import { CanonicalError } from "../src/core/canonical.js";
import { fromHex, toHex } from "../src/core/bytes.js";
import * as http from "../src/core/http.js";
import "../src/core/server.js";
import { runRequestFingerprints, runRfc8785 } from "./request-vectors.js";

type Json = any; // eslint-disable-line

const read = (name: string): Json =>
  JSON.parse(readFileSync(new URL(`../../tests/vectors/${name}.json`, import.meta.url), "utf8"));
const bytes = (hex: string) => fromHex(hex)!;
const latin1 = (text: string) => Uint8Array.from(text, (letter) => letter.charCodeAt(0));

/** The result, or what an error says. */
function attempted<T>(attempt: () => T): T | { error: string } {
  try {
    return attempt();
  } catch (error) {
    return { error: (error as Error).message };
  }
}

test("every form of the key header is read as in Rust", () => {
  const { cases } = read("key_header");
  for (const { name, values, lenient, strict } of cases) {
    for (const [expected, strictly] of [[lenient, false], [strict, true]]) {
      const key = attempted(() => http.keyOfHeader(values.map(bytes), strictly));
      assert.deepEqual(typeof key === "string" ? { key } : (key ?? null), expected, name);
    }
  }
  assert.equal(cases.length, 68);
  assert.equal(http.headerOfKey('a "b"'), '"a \\"b\\""');
  assert.throws(() => http.headerOfKey("ü"), { code: "KEY_HEADER_INVALID", message: "not_printable" });
});

test("responses are stored, read and refused as in Rust", () => {
  const { cases, refused } = read("stored_response");
  for (const { name, status, headers, body, encoded } of cases) {
    const pairs = headers.map(([name, value]: [string, string]) => [name, bytes(value)]);
    const names = headers.map(([name]: [string]) => name);
    const usual = ["content-type", "content-language", "content-disposition", "content-location", "content-encoding", "location", "etag", "last-modified", "link"];
    const allow = names.filter((name: string) => !usual.includes(name));
    const bodyLength = body.length / 2;
    const head = http.storedHead({ status, headers: pairs, bodyLength }, allow);
    assert.equal(toHex(head) + body, encoded, name);
    const replayed = http.replayedHead(bytes(encoded));
    assert.equal(replayed.status, status, name);
    assert.equal(toHex(bytes(encoded).subarray(replayed.bodyAt)), body, name);
    const marks = [["idempotent-replayed", toHex(latin1("true"))], ["cache-control", toHex(latin1("no-store"))]];
    assert.deepEqual(replayed.headers.map(([name, value]) => [name, toHex(value)]), [...headers, ...marks], name);
    assert.equal(replayed.contentLength, status === 204 || status === 304 ? undefined : bodyLength, name);
  }
  for (const { name, encoded, error } of refused) {
    assert.throws(() => http.replayedHead(bytes(encoded)), { code: "RESPONSE_CORRUPT", message: error }, name);
  }
  assert.deepEqual([cases.length, refused.length], [8, 18]);
});

test("cookies and what belongs to one answer are not stored, even by name", () => {
  const headers = [["Set-Cookie", latin1("a=1")], ["X-Task", latin1("7")], ["Location", latin1("/7")]] as const;
  const head = http.storedHead({ status: 201, headers, bodyLength: 0 }, ["x-task"]);
  assert.deepEqual(http.replayedHead(head).headers.slice(0, 2).map(([name]) => name), ["x-task", "location"]);
  assert.throws(() => http.storedHead({ status: 201, headers, bodyLength: 0 }, ["set-cookie"]), { code: "NOT_STORABLE" });
  assert.throws(() => http.storedHead({ status: 101, headers, bodyLength: 0 }), { message: "status" });
});

test("every refusal is answered as in Rust, in both profiles", () => {
  const { cases } = read("http_errors");
  for (const { code, profile, requestId, key, retryAfterSeconds, ...answer } of cases) {
    const got = http.refusalAnswer({ code, profile, requestId, key, retryAfterSeconds });
    assert.deepEqual(got, answer, `${code} ${profile}`);
  }
  assert.equal(cases.length, 22);
});

test("every fingerprint of a request is that of Rust", () => {
  assert.equal(runRequestFingerprints(read("fingerprint")), 39);
  assert.throws(() => http.fingerprintRequest({ exclude: [""] }, latin1("{}")), { code: "POINTER_INVALID" });
  assert.throws(() => http.fingerprintRequest({ strict: true }, latin1("{")), CanonicalError);
});

test("the canonical forms of RFC 8785 are those of Rust", () => {
  assert.equal(runRfc8785(read("canonical")), 54);
});

test("what becomes of a slot follows the table, and a table that makes no sense is refused", () => {
  const of = (status: number | undefined, table = {}) => http.dispositionOf(table, status);
  assert.deepEqual([201, 302, 409, 503, 101, undefined].map((status) => of(status)), ["remember", "remember", "forget", "release", "fence", "release"]);
  assert.equal(of(503, { statuses: { 503: "fence" } }), "fence");
  assert.equal(of(undefined, { thrown: "fence" }), "fence");
  assert.throws(() => of(201, { classes: { 9: "fence" } }), { code: "STATUS_TABLE_INVALID" });
  assert.throws(() => of(201, { thrown: "remember" }), { code: "STATUS_TABLE_INVALID" });
});

test("a request's id is adopted if it may be, and made otherwise", () => {
  const random = Uint8Array.of(0x2f, 0xc6, 0xdf, 0xe5);
  assert.equal(http.requestId("req-7", random), "req-7");
  assert.equal(http.requestId("two words", random), "req_2fc6dfe5");
  assert.equal(http.requestId(undefined, random), "req_2fc6dfe5");
});
