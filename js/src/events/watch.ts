import type { Held, LeaseReply, Resolved, Verb } from "../core/machine.js";
import { NOTHING, fromHex } from "../core/bytes.js";
import type { Decision } from "../decision.js";
import { IdempError } from "../errors.js";
import type { SlotKey } from "../store.js";
import type { LeaseToken } from "../token.js";
import type { EventHook, EventKind, EventOptions, IdempEvent } from "./event.js";

/**
 * Sees a question from before it is asked to its end. `going` asks it, once; its end is passed on as it
 * is. `of` is the name of the slot, or the lease that speaks.
 */
export type Watch = <D>(asked: Asked, of: SlotKey | LeaseToken, going: () => Promise<D>) => Promise<D>;

export type Asked = "begin" | "resolve" | Verb;

/**
 * What tells the events; `undefined` where nobody wants to hear them.
 *
 * @throws IdempError OPTION_INVALID where `onEvent` or `label` is no function, or `userPart` no place in
 * a scope.
 */
export function watching({ onEvent, label, userPart = 0 }: EventOptions): Watch | undefined {
  if (onEvent === undefined) return undefined;
  const hooks = typeof onEvent === "function" ? [onEvent] : [...onEvent];
  for (const one of label ? [...hooks, label] : hooks) {
    if (typeof one !== "function") throw invalid("`onEvent` and `label` take functions");
  }
  if (!Number.isInteger(userPart) || userPart < 0) {
    throw invalid("`userPart` counts the parts of the scope from 0");
  }
  return async (asked, of, going) => {
    const step = typeof asked === "string" ? asked : asked.verb;
    const token = typeof of === "string" ? undefined : of;
    const at = Date.now();
    const who = whose(token ? token.slot : (of as SlotKey), userPart);
    const tell = (told: Told, about?: Uint8Array, durationMs?: number) => {
      const task = about && labelled(label, about);
      const event = {
        ...told,
        step,
        ...who,
        ...(task !== undefined && { task }),
        warning: WARNINGS.has(told.kind),
        at,
        ...(durationMs !== undefined && { durationMs }),
      };
      for (const hook of hooks) hear(hook, Object.freeze(event as IdempEvent));
    };
    const own = typeof asked === "object" && "body" in asked ? asked.body : undefined;
    if (step === "begin") tell({ kind: "CHECK" });
    if (step === "finish" && token?.policy.usage === "replay") tell({ kind: "STORE START" }, own);
    const asking = performance.now();
    const ended = (told: Told, about?: Uint8Array) => tell(told, about, performance.now() - asking);
    let done;
    try {
      done = await going();
    } catch (error) {
      ended({ kind: "FAILED", code: error instanceof IdempError ? error.code : "UNEXPECTED" });
      throw error;
    }
    if (step === "begin") ended(...begun(done as Decision<Held>));
    else if (step !== "resolve") ended(...replied(done as LeaseReply, asked as Verb, token!));
    else if ((done as Resolved) === "done") ended({ kind: "RESOLVED" });
    return done;
  };
}

/** What is particular to an event. */
type Told = { kind: EventKind; attempt?: number; remaining?: number; retention?: number; code?: string };

/** With what a label is to be looked for in. */
type Heard = [told: Told, about?: Uint8Array | undefined];

function begun(decision: Decision<Held>): Heard {
  switch (decision.type) {
    case "miss":
      return [{ kind: "MISS", attempt: decision.lease.token.attempt }];
    case "hit":
      return [{ kind: "HIT" }, decision.replay.outcome];
    case "in-progress":
      return [{ kind: "IN_PROGRESS", remaining: decision.other.remaining }, decision.other.published];
    case "conflict":
      return [{ kind: "CONFLICT" }];
    case "unknown":
      return [{ kind: "UNKNOWN" }];
    case "expired":
      return [{ kind: "EXPIRED" }];
  }
}

function replied(reply: LeaseReply, asked: Verb, { policy, attempt }: LeaseToken): Heard {
  if (reply.type === "stale") return [{ kind: "STALE" }];
  if (reply.type === "ceiling") return [{ kind: "CEILING" }];
  const active = policy.usage === "while_active";
  switch (asked.verb) {
    case "renew":
      return [{ kind: "RENEWED" }];
    case "publish":
      return [{ kind: "PUBLISHED" }, asked.body];
    case "finish":
      return [active ? { kind: "VACATED" } : { kind: "STORED", retention: policy.retention_ms }, asked.body];
    case "unstorable":
      return [{ kind: active ? "VACATED" : "UNSTORABLE" }];
    case "fence":
      return [{ kind: "FENCED" }];
    case "release":
      return [{ kind: "RELEASED" }];
    case "forget":
      // An earlier attempt may have executed: core released.
      return [{ kind: attempt === 1 ? "FORGOTTEN" : "RELEASED" }];
  }
}

const WARNINGS: ReadonlySet<EventKind> = new Set(["FAILED", "STALE", "UNKNOWN", "FENCED", "CEILING"]);

/** A hook, and a promise of its, that fails changes no result. */
function hear(hook: EventHook, event: IdempEvent): void {
  try {
    const heard = hook(event);
    if (heard) Promise.resolve(heard).catch(() => {});
  } catch {
    // As above.
  }
}

function labelled(label: EventOptions["label"], outcome: Uint8Array): string | undefined {
  try {
    return label?.(outcome);
  } catch {
    return undefined;
  }
}

/** The user and the key of a slot, cut. */
function whose(slot: SlotKey, userPart: number): { user: string; key: string } {
  const name = fromHex(slot) ?? NOTHING;
  let user: Uint8Array = NOTHING;
  let at = 1;
  for (let part = 0; part < name[0]!; part++) {
    const end = at + 2 + ((name[at]! << 8) | name[at + 1]!);
    if (part === userPart) user = name.subarray(at + 2, end);
    at = end;
  }
  return { user: cut(user), key: cut(name.subarray(at)) };
}

/** At most the first 8 characters, and never more than half of the text, then `...`. */
function cut(text: Uint8Array): string {
  // 16 characters decide, of 4 bytes at most.
  const characters = [...utf8.decode(text.subarray(0, 64))];
  return characters.slice(0, Math.min(8, characters.length >> 1)).join("") + "...";
}

const utf8 = new TextDecoder("utf-8", { ignoreBOM: true });

function invalid(message: string): IdempError {
  return new IdempError("OPTION_INVALID", message);
}
