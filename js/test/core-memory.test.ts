/** The memory of the core grows, and may be another one: what is read is read from the one in use. */

import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { suite, test } from "node:test";

import { canonicalize, fingerprintBytes } from "../src/core/fingerprint.js";
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
