/** The core without WebAssembly: the same build, translated to JavaScript. */
import * as translated from "../generated/without-wasm.js";
import { coreIn } from "./exported.js";
import { useCore } from "./registry.js";

useCore(() => coreIn(translated));
