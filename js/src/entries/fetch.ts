/** The client of a page: see {@link createClient}. */
import "#core";

export * from "../fetch/index.js";
