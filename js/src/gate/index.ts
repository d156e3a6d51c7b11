/** What the middleware of every framework is made of. */
export type { Answer } from "./answer.js";
export { Execution } from "./execution.js";
export { Gate, type Admitted, type Entered, type Entry, type Unread } from "./gate.js";
export {
  UNAUTHENTICATED,
  byStatus,
  type Awaitable,
  type GateOptions,
  type GateSettings,
  type ScopeOf,
  type Whose,
} from "./options.js";
export { Owner, type Outcome } from "./owner.js";
export type { Target } from "./payload.js";
export { Pieces } from "./pieces.js";
export { LATE, within } from "./within.js";
