/**
 * Retry-safe creates: whoever asks first executes, and every repetition gets the same outcome.
 * What is decided is decided in Rust, by the same code on every side.
 */
import "#core";

export * from "./slim.js";
