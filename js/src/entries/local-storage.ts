/** A store for one tab: see {@link singleTabLocalStorage}. */
import "#core";

export * from "../stores/local-storage.js";
