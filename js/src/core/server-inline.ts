/** The core for a server from bytes that are in this script, where the runtime is not known. */
import { packed } from "../generated/fast-bytes.js";
import { unpacked } from "./packed.js";
import { useCore } from "./registry.js";
import { instantiated } from "./wasm.js";

// In the place of that of a page, which lacks the HTTP rules, whatever is imported first.
useCore(() => instantiated(unpacked(packed)));
