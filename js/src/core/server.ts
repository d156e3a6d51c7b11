/** The core for a server that loads no addon. */
import { fastCore } from "./fast.js";
import { offerCore } from "./registry.js";

offerCore(fastCore);
