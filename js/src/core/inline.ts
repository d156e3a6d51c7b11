/** The core from bytes that are in this script: nothing to load, nothing to await. */
import { bytes } from "../generated/bytes.js";
import { useCore } from "./registry.js";
import { instantiated } from "./wasm.js";

useCore(() => instantiated(Uint8Array.from(atob(bytes), (letter) => letter.charCodeAt(0))));
