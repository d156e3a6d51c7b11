/** The memory of the core grows, and may be another one: what is read is read from the one in use. */

import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { suite, test } from "node:test";

import { canonicalize, fingerprintBytes } from "../src/core/fingerprint.js";
import { coreIn, type Exported } from "../src/core/exported.js";
import { initialize } from "../src/core/initialize.js";
import "../src/core/without-wasm.js";

// What engines have since 2023, and Node 20 has not.
if (!("detached" in ArrayBuffer.prototype)) {
  Object.defineProperty(ArrayBuffer.prototype, "detached", {
    configurable: true,
    get(this: ArrayBuffer) {
      try {
        new Uint8Array(this);
        return false;
      } catch {
        return true;
      }
    },
  });
}

const sizes = [3, 20, 3_000_000, 20, 12_000_000, 3];

/** Where an answer is read from the wrong memory it is that of an earlier question. */
function ask(byte: number): void {
  for (const size of sizes) {
    const body = new Uint8Array(size).fill(byte);
    const text = `"${Buffer.from(body).toString()}"`;
    assert.equal(Buffer.from(canonicalize(text)).equals(Buffer.from(text)), true, `${size} bytes`);
    assert.notEqual(fingerprintBytes(body), fingerprintBytes(body.fill(byte + 1)), `${size} bytes`);
  }
}

suite("every answer is that of its question", () => {
  test("without WebAssembly, while the memory grows", () => ask(65));

  test("with WebAssembly after it, and anew", async () => {
    const wasm = readFileSync(new URL("../src/generated/idemp.wasm", import.meta.url));
    for (const byte of [66, 67]) {
      await initialize(wasm);
      ask(byte);
    }
  });
});

test("what a call takes of the memory is there again for the next one", () => {
  const wasm = readFileSync(new URL("../src/generated/idemp.wasm", import.meta.url));
  const instance = new WebAssembly.Instance(new WebAssembly.Module(wasm));
  const exported = instance.exports as unknown as Exported;
  const core = coreIn(exported);
  // Objects in objects out of order, strings that are written anew, numbers.
  const nested = (depth: number): string =>
    depth === 0 ? '"\\u0041"' : `{"b":${nested(depth - 1)},"a":[1.50,"\\n${"x".repeat(1000)}"]}`;
  const question = Buffer.from(nested(20));
  const once = core(CANONICALIZE, question);
  const grown = exported.memory.buffer.byteLength;
  for (let round = 0; round < 2000; round++) assert.deepEqual(core(CANONICALIZE, question), once);
  assert.equal(exported.memory.buffer.byteLength, grown);
});

const CANONICALIZE = 9;
