/** For pages whose policy (CSP) forbids WebAssembly: the same, translated to JavaScript. */
import "../core/without-wasm.js";

export * from "./slim.js";
