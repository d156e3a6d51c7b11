/** The core for a server, as WebAssembly: the build for speed, and the runtime's own SHA-256. */
import * as crypto from "node:crypto";
import { packed as small } from "../generated/bytes.js";
import { packed as fast } from "../generated/fast-bytes.js";
import { FINGERPRINT_BYTES, PREIMAGE_JSON } from "./ask.js";
import { Out, toHex } from "./bytes.js";
import { unpacked } from "./packed.js";
import type { Core } from "./registry.js";
import { instantiated } from "./wasm.js";

export function fastCore(): Core {
  // Of 128 bits at once, which old processors lack.
  const bytes = unpacked(fast);
  const call = instantiated(WebAssembly.validate(bytes) ? bytes : unpacked(small));
  const core: Core = (question, bytes) => call(question, bytes);
  core.fingerprint = (body, json) => {
    const bytes = typeof body === "string" ? Buffer.from(body) : body;
    if (!json) return toHex(call(FINGERPRINT_BYTES, bytes).subarray(1));
    const preimage = call(PREIMAGE_JSON, bytes).subarray(1);
    // What is hashed begins with `idemp` and the version.
    return toHex(preimage.subarray(5, 6)) + sha256(preimage);
  };
  core.desk = {
    out() {
      desk.length = 0;
      return desk;
    },
    ask: (question, out) => call(question, out.bytes.subarray(0, out.length)),
    hex: (bytes) => Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length).toString("hex"),
  };
  return core;
}

const desk = new Out(new Uint8Array(16 * 1024));

// In one call where there is one: Node 20.12, 21.7 and newer.
const { hash } = crypto as { hash?: (name: string, bytes: Uint8Array) => string };

function sha256(bytes: Uint8Array): string {
  return hash ? hash("sha256", bytes) : crypto.createHash("sha256").update(bytes).digest("hex");
}
