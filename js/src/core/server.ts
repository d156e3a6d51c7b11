/** The core for a server: the build for speed, and the runtime's own SHA-256. */
import * as crypto from "node:crypto";
import { packed as small } from "../generated/bytes.js";
import { packed as fast } from "../generated/fast-bytes.js";
import { unpacked } from "./packed.js";
import { offerCore, useHash } from "./registry.js";
import { instantiated } from "./wasm.js";

offerCore(() => {
  // Of 128 bits at once, which old processors lack.
  const bytes = unpacked(fast);
  return instantiated(WebAssembly.validate(bytes) ? bytes : unpacked(small));
});

// In one call where there is one: Node 20.12, 21.7 and newer.
const { hash } = crypto as { hash?: (name: string, bytes: Uint8Array) => string };
useHash((bytes) =>
  hash ? hash("sha256", bytes) : crypto.createHash("sha256").update(bytes).digest("hex"),
);
