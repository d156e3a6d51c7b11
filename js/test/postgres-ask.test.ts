/** Questions to PostgreSQL, as they are written. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { parameters } from "../src/stores/postgres/ask.js";

test("no number of a span takes more than 32 bits, since servers before version 15 read no other", () => {
  const slot = Buffer.from("\x02\0\x01a\0\x01bk", "latin1").toString("hex");
  for (const span of [0, 1, 59_999, 90 * 86_400_000 + 7, Number.MAX_SAFE_INTEGER]) {
    const put = { rev: "0".repeat(32), leaseFor: span, keepFor: span, head: new Uint8Array(), body: new Uint8Array() };
    const spans = parameters({ slot, expect: "vacant", put }).slice(4, 6).map(String);
    for (const text of spans) {
      assert.match(text, /^\d+:\d+:\d+\.\d{3}$/);
      assert.ok(text.split(/[:.]/).every((number) => Number(number) < 2 ** 31), text);
    }
  }
});
