/**
 * Something happened to a key. It holds no raw key, no body and no fingerprint; {@link eventText} of
 * `idemp/events` gives its line for a log.
 */
export type IdempEvent = Told &
  (
    | { readonly kind: "MISS"; /** Counts from 1. */ readonly attempt: number }
    | { readonly kind: "IN_PROGRESS"; /** What is left of the lease, in milliseconds. */ readonly remaining: number }
    | { readonly kind: "STORED"; /** How long it is replayed, in milliseconds. */ readonly retention: number }
    | { readonly kind: "FAILED"; /** Of the error; `UNEXPECTED` for one that has none. */ readonly code: string }
    | { readonly kind: Exclude<EventKind, "MISS" | "IN_PROGRESS" | "STORED" | "FAILED"> }
  );

/** What happened, as the log says it. */
export type EventKind =
  /** A request came with a key. */
  | "CHECK"
  /** It is to be executed. */
  | "MISS"
  /** A stored outcome answered it. */
  | "HIT"
  /** The key was used with another payload. */
  | "CONFLICT"
  /** Somebody else is executing it. */
  | "IN_PROGRESS"
  /** Its outcome is unknown. */
  | "UNKNOWN"
  /** Its outcome is no longer kept. */
  | "EXPIRED"
  /** An outcome is about to be stored. */
  | "STORE START"
  /** An outcome was stored. */
  | "STORED"
  /** It was done, and the outcome could not be stored. */
  | "UNSTORABLE"
  /** The work ended and the slot is vacant. */
  | "VACATED"
  /** The owner cannot tell what came of it. */
  | "FENCED"
  /** The lease was prolonged. */
  | "RENEWED"
  /** Interim state was recorded. */
  | "PUBLISHED"
  /** The slot was given back after a failure. */
  | "RELEASED"
  /** The slot was given back, with its binding to the payload. */
  | "FORGOTTEN"
  /** An owner came too late and changed nothing. */
  | "STALE"
  /** A lease was not prolonged: it has reached its ceiling. */
  | "CEILING"
  /** An unknown outcome was resolved. */
  | "RESOLVED"
  /** A store or a record failed. The outcome is unknown. */
  | "FAILED";

/** What was asked for. */
export type EventStep =
  | "begin"
  | "finish"
  | "unstorable"
  | "fence"
  | "renew"
  | "publish"
  | "release"
  | "forget"
  | "resolve";

interface Told {
  readonly kind: EventKind;
  /** The verb that it came of. */
  readonly step: EventStep;
  /** At most the first 8 characters of the scope's user, and `...`. */
  readonly user: string;
  /** At most the first 8 characters of the key, and `...`. */
  readonly key: string;
  /** What the outcome or the interim state is about, where {@link EventOptions.label} knows. */
  readonly task?: string;
  /** Somebody should look: a failed store, a late owner, an unknown outcome. */
  readonly warning: boolean;
  /** When the step was asked for, in milliseconds since the Unix epoch. */
  readonly at: number;
  /** How long the step took, in milliseconds on a monotonic clock; where it has ended. */
  readonly durationMs?: number;
}

/** Is told an event. It is called on the caller's path: keep it short. What it throws, or a promise of
 *  its rejects with, changes nothing. */
export type EventHook = (event: IdempEvent) => unknown;

/** Who is told what happens, and what stands in an event. */
export interface EventOptions {
  /** Told every event: a function, or several. Nobody by default. */
  readonly onEvent?: EventHook | readonly EventHook[];
  /** Finds what an event calls `task` in an outcome or in interim state: an id that may stand in a log,
   *  such as `jsonLabel("id")` of `idemp/events`. */
  readonly label?: (outcome: Uint8Array) => string | undefined;
  /** Which part of the scope an event calls `user`; the first, 0. */
  readonly userPart?: number;
}
