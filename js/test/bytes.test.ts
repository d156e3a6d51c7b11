import assert from "node:assert/strict";
import { test } from "node:test";
import { In, Out, fromHex, toHex } from "../src/core/bytes.js";

test("what does not fit is refused, and never wrapped", () => {
  assert.throws(() => new Out().number(-1), RangeError);
  assert.throws(() => new Out().big(-1n), RangeError);
  assert.throws(() => new Out().number(0.5), RangeError);
  for (const number of [Number.NaN, Infinity, -Infinity]) assert.throws(() => new Out().number(number), RangeError);
  assert.throws(() => new Out().framed(new Uint8Array(65_536)), RangeError);
  for (const number of [0, 1, 2 ** 32 - 1, 2 ** 32, 1_795_382_748_215, 2 ** 53 - 1, 2 ** 53, 2 ** 63]) {
    const written = new Out().number(number).done();
    assert.equal(toHex(written), BigInt(number).toString(16).padStart(16, "0"));
    assert.equal(new In(written).number(), number);
    assert.equal(new In(written).big(), BigInt(number));
  }
  assert.equal(toHex(new Out().big(2n ** 64n - 1n).done()), "f".repeat(16));
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

test("what is written outgrows its room at any place", () => {
  for (const length of [...Array.from({ length: 17 }, (_, at) => 1008 + at), 4096, 100_000]) {
    new Out(); // has the room that is spare, so that the next one begins with little
    const before = new Uint8Array(length).fill(7);
    const written = new Out().raw(before).byte(1).short(2).word(3).number(4).raw(before).done();
    const after = Uint8Array.of(1, 0, 2, 0, 0, 0, 3, 0, 0, 0, 0, 0, 0, 0, 4);
    assert.deepEqual(written, Uint8Array.from([...before, ...after, ...before]));
  }
});
