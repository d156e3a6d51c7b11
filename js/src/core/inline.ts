/** The core from bytes that are in this script: nothing to load, nothing to await. */
import { packed } from "../generated/bytes.js";
import { unpacked } from "./packed.js";
import { useCore } from "./registry.js";
import { instantiated } from "./wasm.js";

useCore(() => instantiated(unpacked(packed)));
