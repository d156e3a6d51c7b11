/** The hook of a page: see {@link useOnce}. */
export * from "../react/index.js";
