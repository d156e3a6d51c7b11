import type { Decision, InProgress, Peeked, Replay } from "../decision.js";
import type { NewSlot, SlotKey, Swap, Swapped } from "../store.js";
import type { LeaseToken, Policy } from "../token.js";
import { lies as putLies } from "./apply.js";
import { ON_REPLY, POLICY, START, ask } from "./ask.js";
import { In, NOTHING, Out, equal, toHex } from "./bytes.js";
import type { Fingerprint } from "./fingerprint.js";

/** A verb on its way: what to ask the store, until it is done. It holds no resource. */
export interface Machine<D> {
  /** The first question. After an error of the store, `start` again: what the lost question did is
   *  recognised. */
  start(): Step<D>;
  onReply(reply: Swapped): Step<D>;
  readonly call: Call<D>;
  readonly slot: FramedName;
}

/** Writes the name of a slot behind its length. */
export type FramedName = (out: Out) => Out;

/** The verb itself, for a store that drives it: see `Driven` of the Rust crate. */
export interface Call<D> extends Bodies {
  write(out: Out): Out;
  /** Reads what was done. */
  done(from: In, bodies: Bodies): D;
}

/** The bodies that stay here, and their marks cross. */
export interface Bodies {
  /** That of the verb. */
  readonly own?: Uint8Array | undefined;
  /** What the token says was published. */
  readonly known?: Uint8Array | undefined;
  /** That in the slot. */
  readonly lies?: Uint8Array | undefined;
}

export type Step<D> = { readonly ask: Swap } | { readonly done: D };

/** A lease as it came: its token, as the core writes it, and what was published; `null` where that was
 *  not read yet. */
export interface Held {
  readonly token: Uint8Array;
  readonly published: Uint8Array | undefined | null;
}

/** A policy that was checked, as the core writes it. */
export type CheckedPolicy = Uint8Array;

/** What an owner can do. `unstorable` is a `finish` without an outcome that can be stored. */
export type Verb =
  | { readonly verb: "finish" | "publish"; readonly body: Uint8Array }
  | { readonly verb: "unstorable" | "fence" | "renew" | "release" | "forget" };

export type LeaseReply =
  | { readonly type: "held"; readonly held: Held }
  | { readonly type: "ended" | "ceiling" }
  | { readonly type: "stale"; readonly winner: Replay | undefined };

export type Resolved = "done" | "vacant" | "not-unknown";

/** 16 random bytes, never used before. */
export type Entropy = () => Uint8Array;

export const systemEntropy: Entropy = () => {
  // Drawn for many at once, since each draw is a call into the system. None is handed out twice.
  if (drawn === pool.length) {
    pool = crypto.getRandomValues(new Uint8Array(1024));
    drawn = 0;
  }
  return pool.subarray(drawn, (drawn += 16));
};

let pool = NOTHING;
let drawn = 0;

export function begin(
  slot: FramedName,
  fingerprint: Fingerprint,
  policy: CheckedPolicy,
  entropy = systemEntropy,
): Machine<Decision<Held>> {
  const owner = entropy();
  return machine(slot, entropy, {
    write: (out) => slot(out.byte(1)).hex(fingerprint).raw(policy).raw(owner),
    done(from, bodies): Decision<Held> {
      switch (from.byte()) {
        case 1:
          return { type: "miss", lease: readHeld(from, bodies) };
        case 2:
          return { type: "hit", replay: readReplay(from, bodies) };
        case 3:
          return { type: "conflict" };
        case 4:
          return { type: "in-progress", other: readInProgress(from, bodies) };
        case 5:
          return { type: "unknown" };
        default:
          return { type: "expired" };
      }
    },
  });
}

export function say(held: Held, verb: Verb, entropy = systemEntropy): Machine<LeaseReply> {
  const { token, published } = held;
  const own = "body" in verb ? verb.body : undefined;
  return machine((out) => out.framed(new In(token).framed()), entropy, {
    own,
    known: published ?? undefined,
    write(out) {
      out.byte(2).raw(token);
      if (published) out.byte(2).byte(mark(published, KNOWN));
      else out.byte(published !== null);
      out.byte(VERBS.indexOf(verb.verb) + 1);
      return own ? out.byte(mark(own, OWN)) : out;
    },
    done(from, bodies): LeaseReply {
      switch (from.byte()) {
        case 1:
          return { type: "held", held: readHeld(from, bodies) };
        case 2:
          return { type: "ended" };
        case 3:
          return { type: "ceiling" };
        default:
          return { type: "stale", winner: from.flag() ? readReplay(from, bodies) : undefined };
      }
    },
  });
}

/** Settles an unknown outcome: with it, or by vacating the slot. */
export function resolve(
  slot: FramedName,
  outcome: Uint8Array | undefined,
  policy: CheckedPolicy,
  entropy = systemEntropy,
): Machine<Resolved> {
  const owner = entropy();
  return machine(slot, entropy, {
    own: outcome,
    write(out) {
      slot(out.byte(3)).byte(outcome !== undefined);
      if (outcome) out.byte(mark(outcome, OWN));
      return out.raw(policy).raw(owner);
    },
    done: (from) => RESOLVED[from.byte() - 1] ?? "not-unknown",
  });
}

export function peek(
  slot: FramedName,
  policy: CheckedPolicy,
  entropy = systemEntropy,
): Machine<Peeked<Held> | undefined> {
  return machine(slot, entropy, {
    write: (out) => slot(out.byte(4)).raw(policy),
    done(from, bodies) {
      const state = STATES[from.byte() - 1];
      if (!state) return undefined;
      const live = from.flag();
      const body = readBody(from, bodies);
      return { state, live, body, lease: readHeld(from, bodies) };
    },
  });
}

/** A policy that is left out where it has core's default. Spans in milliseconds. */
export interface PolicyChoice {
  readonly whileActive: boolean;
  readonly fence: boolean;
  readonly retention: number;
  readonly lease: number | undefined;
  readonly ceiling: number | undefined;
  readonly tombstone: number | undefined;
}

/**
 * The policy, checked.
 *
 * @throws IdempError POLICY_INVALID where a span makes no sense, or is at odds with another.
 */
export function policy(choice: PolicyChoice): CheckedPolicy {
  const out = new Out().byte(choice.whileActive).byte(choice.fence).number(choice.retention);
  for (const span of [choice.lease, choice.ceiling, choice.tombstone]) {
    out.byte(span !== undefined);
    if (span !== undefined) out.number(span);
  }
  return ask(POLICY, out.done());
}

/** The name of a slot, in bytes. */
export function nameIn(slot: FramedName): Uint8Array {
  return slot(new Out()).done().subarray(2);
}

/** The policy as plain data. */
export function policyIn(policy: CheckedPolicy): Policy {
  return readPolicy(new In(policy));
}

/** The token as plain data. */
export function tokenIn({ token }: Held): LeaseToken {
  const from = new In(token);
  return {
    slot: toHex(from.framed()),
    fingerprint: from.hex(FINGERPRINT),
    policy: readPolicy(from),
    owner: from.hex(16),
    rev: from.hex(16),
    attempt: from.word(),
    fence: String(from.big()),
    granted_at: from.number(),
    lease_until: from.number(),
    seen_at: from.number(),
  };
}

/** The lease of a token. What the token says is for the core to check. */
export function heldOf(token: LeaseToken, policy?: CheckedPolicy): Held {
  const out = new Out().short(token.slot.length / 2).hex(token.slot).hex(token.fingerprint);
  (policy ? out.raw(policy) : writePolicy(out, token.policy))
    .hex(token.owner)
    .hex(token.rev)
    .word(token.attempt)
    .big(BigInt(token.fence))
    .number(token.granted_at)
    .number(token.lease_until)
    .number(token.seen_at);
  return { token: out.done(), published: null };
}

/** The same lease under another policy. */
export function under({ token }: Held, policy: CheckedPolicy): Held {
  // `slice` of a buffer of Node would be the same bytes.
  const changed = new Uint8Array(token);
  changed.set(policy, 2 + new In(token).framed().length + FINGERPRINT);
  return { token: changed, published: null };
}

// What stands for a body: the one in hand, the one in the slot, what was published.
const OWN = 1;
const LIES = 2;
const KNOWN = 3;

const VERBS = ["finish", "unstorable", "fence", "renew", "publish", "release", "forget"];
const RESOLVED = ["done", "vacant"] as const;
const STATES = [
  "in-progress",
  "completed",
  "unstorable",
  "released",
  "unknown",
  "expired",
] as const;

function mark(body: Uint8Array, as: number): number {
  return body.length === 0 ? 0 : as;
}

/** A call on its way. */
export function machine<D>(slot: FramedName, entropy: Entropy, call: Call<D>): Machine<D> {
  let lies: Uint8Array | undefined;
  let waiting: Uint8Array = NOTHING;
  let name: SlotKey | undefined;
  const step = (answer: Uint8Array): Step<D> => {
    const from = new In(answer);
    const bodies = { ...call, lies };
    if (from.byte() === 1) return { done: call.done(from, bodies) };
    const expect = from.flag() ? { rev: from.hex(16) } : "vacant";
    const put = from.flag() ? readNewSlot(from, bodies) : "remove";
    waiting = from.rest();
    return { ask: { slot: (name ??= toHex(nameIn(slot))), expect, put } };
  };
  return {
    call,
    slot,
    start: () => step(ask(START, call.write(new Out().raw(entropy())).done())),
    onReply(reply) {
      const out = new Out().raw(entropy()).number(reply.now);
      if (reply.won) out.byte(0);
      else if (!reply.slot) out.byte(1);
      else {
        const { body } = reply.slot;
        const same = call.own && equal(body, call.own);
        lies = body;
        putLies(out.byte(2), reply.slot).framed(reply.slot.head).byte(mark(body, same ? OWN : LIES));
      }
      return step(ask(ON_REPLY, out.raw(waiting).done()));
    },
  };
}

function bodyOf(mark: number, bodies: Bodies): Uint8Array {
  const body = [NOTHING, bodies.own, bodies.lies, bodies.known][mark];
  if (!body) throw new Error("idemp: a mark stands for no body");
  return body;
}

/** A body that may not be there. */
function readBody(from: In, bodies: Bodies): Uint8Array | undefined {
  return from.flag() ? bodyOf(from.byte(), bodies) : undefined;
}

function readReplay(from: In, bodies: Bodies): Replay {
  return { remaining: from.number(), outcome: bodyOf(from.byte(), bodies) };
}

function readInProgress(from: In, bodies: Bodies): InProgress {
  return { remaining: from.number(), published: readBody(from, bodies) };
}

function readNewSlot(from: In, bodies: Bodies): NewSlot {
  return {
    rev: from.hex(16),
    leaseFor: from.number(),
    keepFor: from.number(),
    head: from.framed(),
    body: bodyOf(from.byte(), bodies),
  };
}

function writePolicy(out: Out, policy: Policy): Out {
  return out
    .byte(policy.usage === "while_active")
    .byte(policy.lapse === "fence")
    .number(policy.retention_ms)
    .number(policy.lease_ms)
    .number(policy.ceiling_ms)
    .number(policy.tombstone_ms);
}

function readPolicy(from: In): Policy {
  return {
    usage: from.flag() ? "while_active" : "replay",
    lapse: from.flag() ? "fence" : "takeover",
    retention_ms: from.number(),
    lease_ms: from.number(),
    ceiling_ms: from.number(),
    tombstone_ms: from.number(),
  };
}

/** How long a fingerprint is. */
const FINGERPRINT = 33;
/** What of a token follows the name of its slot: fingerprint, policy, owner and revision, the numbers. */
const BEHIND_SLOT = FINGERPRINT + 34 + 2 * 16 + 4 + 4 * 8;

function readHeld(from: In, bodies: Bodies): Held {
  const token = from.framedAnd(BEHIND_SLOT);
  const known = from.byte();
  return { token, published: known === 0 ? null : known === 1 ? undefined : bodyOf(from.byte(), bodies) };
}
