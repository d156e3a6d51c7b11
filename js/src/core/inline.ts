/** The core from bytes that are in this script: nothing to load, nothing to await. */
import { packed } from "../generated/bytes.js";
import { unpacked } from "./packed.js";
import { offerCore } from "./registry.js";
import { instantiated } from "./wasm.js";

offerCore(() => instantiated(unpacked(packed)));
