import "../src/core/inline.js";
import assert from "node:assert/strict";
import { test } from "node:test";
import { runInNewContext } from "node:vm";

import { canonicalize, fingerprintJson, fingerprintOf } from "../src/core/fingerprint.js";

test("what JSON shows nothing of has no fingerprint: all of its kind would have the same", () => {
  const form = new FormData();
  form.set("amount", "5");
  const values: unknown[] = [
    Promise.resolve({ amount: 5 }), // a forgotten await
    new Map([["amount", 5]]),
    new Set([5]),
    new URLSearchParams("amount=5"),
    new Blob(["5"]),
    new DataView(new ArrayBuffer(8)),
    new Error("5"),
    /5/,
    runInNewContext("new ArrayBuffer(8)"),
    form,
  ];
  for (const value of values) {
    const kind = Object.prototype.toString.call(value);
    assert.throws(() => fingerprintOf(value), TypeError, kind);
    assert.throws(() => fingerprintOf({ order: [value] }), TypeError, `${kind} within`);
  }
});

test("what JSON shows has one, also where it is empty or writes itself", () => {
  class Order {
    amount?: number;
  }
  const same = [{}, new Order(), Object.create(null), runInNewContext("({})"), { left: undefined }];
  assert.equal(new Set(same.map(fingerprintOf)).size, 1);
  class Written extends Map<string, number> {
    toJSON = () => ({ ...Object.fromEntries(this) });
  }
  assert.equal(fingerprintOf([new Written()]), fingerprintOf([{}]));
  assert.equal(fingerprintOf([{}, Object(5)]), fingerprintOf([{}, 5]));
  assert.equal(fingerprintOf({ text: "{}", at: new Date(0) }), fingerprintOf({ at: new Date(0), text: "{}" }));
});

test("a text with half of a surrogate pair has none: it would be taken for another text", () => {
  for (const take of [fingerprintJson, canonicalize]) assert.throws(() => take('"\ud800"'), TypeError);
  assert.notEqual(fingerprintOf("\ud800"), fingerprintOf("\ud801"));
});
