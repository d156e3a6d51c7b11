/** What is made of events: lines for a log, and labels. */
export type { EventHook, EventKind, EventOptions, EventStep, IdempEvent } from "../events/event.js";
export { jsonLabel } from "../events/label.js";
export { eventText, logEvents } from "../events/text.js";
