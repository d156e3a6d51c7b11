import { IdempError } from "../errors.js";
import { coreIn, type Exported } from "./exported.js";
import type { Core } from "./registry.js";

/**
 * Starts the core.
 *
 * @throws IdempError WASM_UNAVAILABLE where WebAssembly is missing or forbidden.
 */
export function instantiated(bytes: Uint8Array<ArrayBuffer> | WebAssembly.Module): Core {
  try {
    const module = bytes instanceof Uint8Array ? new WebAssembly.Module(bytes) : bytes;
    return coreIn(new WebAssembly.Instance(module).exports as unknown as Exported);
  } catch (cause) {
    throw new IdempError(
      "WASM_UNAVAILABLE",
      "WebAssembly cannot be used here; a page whose policy (CSP) forbids it imports idemp/csp",
      { cause },
    );
  }
}
