/** The laws of a store as tests, for a store of your own. */
import "#core";

export * from "../testing/index.js";
