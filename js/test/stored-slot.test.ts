/** A slot as bytes and as text. */

import assert from "node:assert/strict";
import { test } from "node:test";
import type { Slot } from "../src/store.js";
import { decodeSlot, encodeSlot, goneAtOfText, slotFromText, slotToText } from "../src/stores/stored-slot.js";

const slot: Slot = {
  rev: "000102030405060708090a0b0c0d0eff",
  leaseUntil: 1_769_660_861_000,
  goneAt: 1_769_747_261_000,
  head: Uint8Array.of(1, 0, 255),
  body: Uint8Array.of(0, 128, 10, 13),
};

test("version 1 is these bytes, and stays so", () => {
  const hex = Buffer.from(encodeSlot(slot)).toString("hex");
  const [rev, lease, gone] = [slot.rev, "0000019c0801ca48", "0000019c0d282648"];
  assert.equal(hex, `01${rev}${lease}${gone}0003000000040100ff00800a0d`);
});

test("slots of every size come back as they were", () => {
  for (const [head, body] of [[0, 0], [0, 1], [111, 0], [70, 300], [111, 1_048_576]] as const) {
    const large = { ...slot, head: new Uint8Array(head).fill(200), body: Uint8Array.from({ length: body }, (_, n) => n * 31) };
    assert.deepEqual(decodeSlot(encodeSlot(large)), large);
    assert.deepEqual(slotFromText(slotToText(large)), large);
    assert.equal(goneAtOfText(slotToText(large)), slot.goneAt);
  }
});

test("what is cut off or prolonged anywhere, or of another version, is corrupt", () => {
  const bytes = encodeSlot(slot);
  const corrupt = { name: "StoreError", code: "STORE_CORRUPT" };
  for (let end = 0; end < bytes.length; end++) assert.throws(() => decodeSlot(bytes.subarray(0, end)), corrupt);
  assert.throws(() => decodeSlot(Uint8Array.of(...bytes, 0)), corrupt);
  assert.throws(() => decodeSlot(Uint8Array.of(2, ...bytes.subarray(1))), corrupt);
  const far = bytes.slice();
  far[25] = 255;
  assert.throws(() => decodeSlot(far), corrupt);
  for (const text of ["", "no base64!", "AQ==", slotToText(slot).slice(0, -4)]) assert.throws(() => slotFromText(text), corrupt);
});

test("what comes out is nobody else's memory", () => {
  const bytes = encodeSlot(slot);
  const decoded = decodeSlot(bytes);
  bytes.fill(0xaa);
  assert.deepEqual(decoded, slot);
});

test("bytes that are a part of something larger, and Node's, are read alike", () => {
  const bytes = encodeSlot(slot);
  const within = new Uint8Array(bytes.length + 20);
  within.set(bytes, 10);
  assert.deepEqual(decodeSlot(within.subarray(10, 10 + bytes.length)), slot);
  assert.deepEqual(decodeSlot(Buffer.from(bytes)), slot);
});
