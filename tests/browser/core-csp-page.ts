import "../../js/src/core/without-wasm.js";
import "./core-page.js";
