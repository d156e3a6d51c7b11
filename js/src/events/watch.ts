import { tokenIn, type Held, type LeaseReply, type Resolved, type Verb } from "../core/machine.js";
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
export type Watch = <D>(asked: Asked, of: SlotKey | Held, going: () => D | Promise<D>) => Promise<D>;

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
    const token = typeof of === "string" ? undefined : tokenIn(of);
    const at = Date.now();
    const { user, key } = whose(token ? token.slot : (of as SlotKey), userPart);
    const tell = (event: Told, about?: Uint8Array, durationMs?: number) => {
      // Not spread into another object, which takes longer than all the rest.
      event.step = step;
      event.user = user;
      event.key = key;
      const task = about && labelled(label, about);
      if (task !== undefined) event.task = task;
      event.warning = WARNINGS.has(event.kind);
      event.at = at;
      if (durationMs !== undefined) event.durationMs = durationMs;
      Object.freeze(event);
      for (const hook of hooks) hear(hook, event as IdempEvent);
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

/** An event that is yet to be filled in, or a part of it. */
type Told = { -readonly [M in keyof Every]?: Every[M] } & { kind: EventKind };
type Every = Omit<IdempEvent, "kind"> & { attempt: number; remaining: number; retention: number; code: string };

/** With what a label is to be looked for in. */
type Heard = [told: Told, about?: Uint8Array | undefined];

function begun(decision: Decision<Held>): Heard {
  switch (decision.type) {
    case "miss":
      return [{ kind: "MISS", attempt: tokenIn(decision.lease).attempt }];
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
  let user = "";
  let at = 2;
  for (let part = 0; part < hexNumber(slot, 0, 2); part++) {
    const end = at + 4 + 2 * hexNumber(slot, at, at + 4);
    if (part === userPart) user = slot.slice(at + 4, end);
    at = end;
  }
  return { user: cut(user), key: cut(slot.slice(at)) };
}

function hexNumber(text: string, from: number, to: number): number {
  return Number.parseInt(text.slice(from, to), 16);
}

/** At most the first 8 characters, and never more than half of the text, then `...`. The text is UTF-8 in
 *  hex; 16 characters decide. */
function cut(hex: string): string {
  const bytes = fromHex(hex.slice(0, 32)) ?? NOTHING;
  // A character is a byte, or up to 4.
  const ascii = bytes.every((byte) => byte < 128);
  const text = utf8.decode(ascii ? bytes : (fromHex(hex.slice(0, 128)) ?? NOTHING));
  const characters = ascii ? text : [...text];
  const shown = characters.slice(0, Math.min(8, characters.length >> 1));
  return `${typeof shown === "string" ? shown : shown.join("")}...`;
}

const utf8 = new TextDecoder("utf-8", { ignoreBOM: true });

function invalid(message: string): IdempError {
  return new IdempError("OPTION_INVALID", message);
}
