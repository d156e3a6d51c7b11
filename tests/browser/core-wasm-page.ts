import "../../js/src/core/inline.js";
import "./core-page.js";
