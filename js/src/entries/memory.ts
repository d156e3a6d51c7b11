/** A store that lives as long as its process: see {@link memoryStore}. */
import "#core";

export * from "../stores/memory.js";
