/** `idemp/testing`: the laws of a store as tests, for a store of your own. */

export { Broken, conformance, type Law } from "./conformance.js";
export type { Limits, Room, Subject } from "./subject.js";
