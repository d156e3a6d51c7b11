/** The core without WebAssembly: the same build, translated to JavaScript. */
import * as glue from "../generated/glue.js";
import * as translated from "../generated/without-wasm.js";
import { useCore } from "./registry.js";

useCore(() => {
  glue.__wbg_set_wasm(translated);
  return glue.call;
});
