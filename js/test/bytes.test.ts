import assert from "node:assert/strict";
import { test } from "node:test";
import { Out, fromHex, toHex } from "../src/core/bytes.js";

test("what does not fit is refused, and never wrapped", () => {
  assert.throws(() => new Out().number(-1), RangeError);
  assert.throws(() => new Out().number(-1n), RangeError);
  assert.throws(() => new Out().number(0.5), RangeError);
  assert.throws(() => new Out().number(Number.NaN), RangeError);
  assert.throws(() => new Out().framed(new Uint8Array(65_536)), RangeError);
  assert.equal(toHex(new Out().number(2 ** 53).done()), "0020000000000000");
});

test("two that are written at the same time do not mix", () => {
  const first = new Out().byte(1);
  const second = new Out().byte(2);
  assert.equal(toHex(second.byte(3).done()), "0203");
  assert.equal(toHex(first.byte(4).done()), "0104");
  const kept = new Out().byte(5).done();
  new Out().byte(6).done();
  assert.equal(toHex(kept), "05");
});

test("hex is read where it is hex in lower case", () => {
  assert.deepEqual(fromHex("00ff7a"), Uint8Array.of(0, 255, 122));
  for (const text of ["0", "0g", "FF", " 0", "0\u00e9", "é0"]) assert.equal(fromHex(text), undefined, text);
});

test("what is written where the buffer ends goes into the longer one", () => {
  const writers: [number, (out: Out) => Out][] = [
    [1, (out) => out.byte(7)],
    [2, (out) => out.short(7)],
    [4, (out) => out.word(7)],
    [8, (out) => out.number(7)],
    [1, (out) => out.raw(Uint8Array.of(7))],
  ];
  // However long the buffer is, it ends somewhere here.
  for (const [length, write] of writers) {
    for (let before = 1; before < 2 ** 17; before = before < 64 ? before + 1 : before * 2 - (before % 2)) {
      for (const start of [before - 1, before]) {
        const written = write(new Out().raw(new Uint8Array(start).fill(9))).done();
        assert.equal(written.length, start + length);
        assert.deepEqual([written[start - 1] ?? 9, written[start + length - 1]], [9, 7], `${length} bytes at ${start}`);
      }
    }
  }
});

test("two long ones that are written at the same time do not mix", () => {
  const first = new Out().raw(new Uint8Array(5000).fill(1));
  const second = new Out().raw(new Uint8Array(5000).fill(2));
  assert.ok(second.raw(new Uint8Array(50_000).fill(2)).done().every((byte) => byte === 2));
  assert.ok(first.raw(new Uint8Array(50_000).fill(1)).done().every((byte) => byte === 1));
});
