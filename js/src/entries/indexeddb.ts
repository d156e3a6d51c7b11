/** The store of a browser: see {@link indexedDbStore}. */
import "#core";

export * from "../stores/indexeddb.js";
