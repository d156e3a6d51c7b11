import { useCore } from "./registry.js";
import { instantiated } from "./wasm.js";

/**
 * Takes the core from `idemp/idemp.wasm`, however it is loaded: a response, its bytes, or a module
 * that is compiled already. Once is enough.
 *
 * ```ts
 * await initialize(fetch(new URL("idemp/idemp.wasm", import.meta.url)));
 * ```
 *
 * @throws IdempError WASM_UNAVAILABLE where WebAssembly is missing or forbidden; what the loading
 * throws.
 */
export async function initialize(
  wasm: Promise<Source> | Source,
): Promise<void> {
  const source = await wasm;
  if (source instanceof WebAssembly.Module) return started(source);
  if (!(source instanceof Response)) return started(await WebAssembly.compile(source));
  if (source.headers.get("content-type")?.startsWith("application/wasm")) {
    return started(await WebAssembly.compileStreaming(source));
  }
  started(await WebAssembly.compile(await source.arrayBuffer()));
}

type Source = Response | BufferSource | WebAssembly.Module;

function started(module: WebAssembly.Module): void {
  const core = instantiated(module);
  useCore(() => core);
}
