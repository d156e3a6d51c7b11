/** The core as a module that the runtime has compiled: workers may not compile bytes. */
// @ts-expect-error a module of WebAssembly has no types
import compiled from "idemp/idemp.wasm";
import { offerCore } from "./registry.js";
import { instantiated } from "./wasm.js";

offerCore(() => instantiated(compiled as WebAssembly.Module));
