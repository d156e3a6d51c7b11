/** The core for a server as a module that the runtime has compiled: workers may not compile bytes. */
// @ts-expect-error a module of WebAssembly has no types
import compiled from "idemp/fast.wasm";
import { useCore } from "./registry.js";
import { instantiated } from "./wasm.js";

// In the place of that of a page, which lacks the HTTP rules, whatever is imported first.
useCore(() => instantiated(compiled as WebAssembly.Module));
