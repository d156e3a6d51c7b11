import type { EventHook, IdempEvent } from "./event.js";

/**
 * A hook that writes a line for each event, the same that the Rust crate writes:
 *
 * ```text
 * [IDEMP] STORED user=793ccc64... key=final-17... → task=vt_4e80c173 (TTL=24h)
 * ```
 *
 * `write` is given the line, and the event for whoever sorts by it:
 *
 * ```ts
 * const onEvent = logEvents((line, { warning }) => (warning ? log.warn(line) : log.info(line)));
 * ```
 */
export function logEvents(
  write: (line: string, event: IdempEvent) => unknown = (line) => console.log(line),
): EventHook {
  return (event) => write(eventText(event), event);
}

/** An event as a line for a log, without its end. */
export function eventText(event: IdempEvent): string {
  const { kind, user, key, task } = event;
  const arrow = kind === "STORE START" ? "" : "→ ";
  return `[IDEMP] ${kind} user=${user} key=${key}${task === undefined ? "" : ` ${arrow}task=${task}`}${rest(event)}`;
}

function rest(event: IdempEvent): string {
  switch (event.kind) {
    case "CONFLICT":
      return " payload mismatch";
    case "STORED":
      return ` (TTL=${span(event.retention)})`;
    case "MISS":
      return event.attempt > 1 ? ` attempt=${event.attempt}` : "";
    case "IN_PROGRESS":
      return ` lease=${span(Math.ceil(event.remaining / 1000) * 1000)}`;
    case "FAILED":
      return ` ${reason(event.code)}`;
    default:
      return "";
  }
}

function reason(code: string): string {
  if (code === "STORE_TIMEOUT") return "store timed out";
  if (code === "STORE_BUSY") return "record held by a transaction";
  if (code === "STORE_FULL") return "store full";
  if (code.startsWith("STORE_")) return "store unavailable";
  return /^RECORD_|^CONTENDED$/.test(code) ? "record unreadable" : "unexpected error";
}

/** Milliseconds in their largest whole unit: `24h`, `90m`, `1500ms`. */
function span(milliseconds: number): string {
  const [unit, name] = UNITS.find(([unit]) => milliseconds > 0 && milliseconds % unit === 0) ?? [1, "ms"];
  return `${milliseconds / unit}${name}`;
}

const UNITS = [
  [3_600_000, "h"],
  [60_000, "m"],
  [1000, "s"],
] as const;
