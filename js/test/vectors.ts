/** The vectors of the project, run on whichever core is in use: what core gives natively, byte for
 *  byte. Runs in Node and, bundled, in a page. */
import { apply } from "../src/core/apply.js";
import { NOTHING, fromHex, toHex } from "../src/core/bytes.js";
import { CanonicalError } from "../src/core/canonical.js";
import { canonicalize, fingerprintBytes, fingerprintJson, type Fingerprint } from "../src/core/fingerprint.js";
import * as machine from "../src/core/machine.js";
import { IdempError } from "../src/errors.js";
import { policyOf } from "../src/policy.js";
import type { Slot, Swap, Swapped } from "../src/store.js";
import type { LeaseToken, Policy } from "../src/token.js";

type Json = any; // eslint-disable-line

export interface Vectors {
  readonly apply: Json[];
  readonly decisions: Json[];
  readonly canonical: Json;
  readonly fingerprint: Json;
}

/** Runs all of them; how many there were of each kind. Throws at the first that differs. */
export function runVectors(vectors: Vectors): Record<string, number> {
  for (const vector of vectors.apply) check(vector.name, applied(vector), expectedOfApply(vector));
  for (const vector of vectors.decisions) check(vector.name, decided(vector), expectedOf(vector));
  return {
    apply: vectors.apply.length,
    decisions: vectors.decisions.length,
    canonical: runCanonical(vectors.canonical),
    fingerprint: runFingerprints(vectors.fingerprint),
  };
}

/** Throws where it differs. */
export function check(name: string, got: unknown, expected: unknown): void {
  const [left, right] = [canonical(got), canonical(expected)];
  if (left !== right) throw new Error(`${name}\n     got ${left}\nexpected ${right}`);
}

/** JSON with its members in order. */
function canonical(value: unknown): string {
  return JSON.stringify(value, (_, inner) =>
    inner && typeof inner === "object" && !Array.isArray(inner)
      ? Object.fromEntries(Object.entries(inner).sort(([l], [r]) => (l < r ? -1 : 1)))
      : inner,
  );
}

function applied(vector: Json): unknown {
  const slot = slotOf(vector.slot);
  const result = apply(slot, swapOf(vector.swap), vector.now);
  const after = result.swapped.won ? (result as { slot: Slot | undefined }).slot : slot;
  return { reply: replyJson(result.swapped), after: slotJson(after) };
}

function expectedOfApply(vector: Json): unknown {
  // A slot that is gone is absent, whether it still lies there or not.
  return { reply: vector.reply, after: vector.slot_after };
}

function decided(vector: Json): unknown {
  const revs = vector.revs.map(bytes);
  const first = Object.values<Json>(vector.call)[0];
  const owners = [first.owner, first.id].filter(Boolean).map(bytes);
  const entropy = () => owners.shift() ?? revs.shift();
  let slot = slotOf(vector.slot);
  const asked: unknown[] = [];
  let done: unknown;
  try {
    const call = machineOf(vector.call, entropy);
    let step = call.start();
    while (!("done" in step)) {
      const result = apply(slot, step.ask, vector.now);
      if (result.swapped.won) slot = (result as { slot: Slot | undefined }).slot;
      asked.push({ swap: swapJson(step.ask), reply: replyJson(result.swapped) });
      step = call.onReply(result.swapped);
    }
    done = { ok: doneJson(step.done, vector.call) };
  } catch (error) {
    if (!(error instanceof IdempError)) throw error;
    done = { error: error.code };
  }
  return { asked, done, after: slotJson(slot) };
}

function expectedOf(vector: Json): unknown {
  const done = "ok" in vector.done ? vector.done : { error: errorCode(vector.done) };
  return { asked: vector.asked, done, after: vector.slot_after };
}

function errorCode(done: Json): string {
  const text = JSON.stringify(done);
  return /newer/i.test(text) ? "RECORD_NEWER" : /contended/i.test(text) ? "CONTENDED" : "RECORD_CORRUPT";
}

function machineOf(call: Json, entropy: machine.Entropy): machine.Machine<unknown> {
  if (call.begin) {
    const { slot, fingerprint, policy } = call.begin;
    return machine.begin(framed(slot), fingerprint as Fingerprint, checked(policy), entropy);
  }
  if (call.resolve) {
    const { slot, resolution, policy } = call.resolve;
    const outcome = resolution === "vacant" ? undefined : bytes(resolution.completed);
    return machine.resolve(framed(slot), outcome, checked(policy), entropy);
  }
  const { token, verb } = call.lease;
  return machine.say(machine.heldOf(token as LeaseToken), verbOf(verb), entropy);
}

function framed(slot: string): machine.FramedName {
  return (out) => out.framed(bytes(slot));
}

/** As the core writes it. */
function checked(policy: Policy): machine.CheckedPolicy {
  return policyOf({
    usage: policy.usage === "while_active" ? "while-active" : "replay",
    onLapse: policy.lapse,
    retention: policy.retention_ms,
    lease: policy.lease_ms,
    ceiling: policy.ceiling_ms,
    ...(policy.tombstone_ms ? { tombstone: policy.tombstone_ms } : {}),
  });
}

function verbOf(verb: Json): machine.Verb {
  if (typeof verb === "string") {
    return { verb: verb === "finish_unstorable" ? "unstorable" : (verb as "renew") };
  }
  const [[name, body]] = Object.entries<string>(verb) as [[string, string]];
  return { verb: name as "finish", body: bytes(body) };
}

function doneJson(done: Json, call: Json): unknown {
  if (call.resolve) return done.replace("-", "_");
  const replay = (replay: Json) =>
    replay && { outcome: toHex(replay.outcome), remaining_ms: replay.remaining };
  switch (done.type) {
    case "miss":
      return { miss: machine.tokenIn(done.lease) };
    case "hit":
      return { hit: replay(done.replay) };
    case "in-progress": {
      const { published, remaining } = done.other;
      return { in_progress: { published: published ? toHex(published) : null, remaining_ms: remaining } };
    }
    case "held":
      return { held: machine.tokenIn(done.held) };
    case "stale":
      return { stale: { winner: replay(done.winner) ?? null } };
    default:
      return done.type;
  }
}

/** Those with exact numbers: the others need floats, which a page does not download. */
function runCanonical({ cases }: Json): number {
  for (const { name, input_hex, exact } of cases) {
    const [, kind, offset] = /^(\w+)(?:\((\d+)\))?$/.exec(exact.error ?? "") ?? [];
    const got = form(bytes(input_hex));
    check(`canonical: ${name}`, got.hex ?? got.kind, exact.hex ?? kind);
    if (offset) check(`canonical: ${name}`, got.offset, Number(offset));
  }
  return cases.length;
}

function form(text: Uint8Array): { hex?: string; kind?: string; offset?: number } {
  try {
    return { hex: toHex(canonicalize(text)) };
  } catch (error) {
    if (!(error instanceof CanonicalError)) throw error;
    // As Rust writes it.
    const kind = error.kind.replace(/(^|-)./g, (start) => start.slice(-1).toUpperCase());
    return { kind, offset: error.offset };
  }
}

/** Those of a body alone: the parts of a request are for servers. */
function runFingerprints({ cases }: Json): number {
  const known = ["name", "body", "input_hex", "canonical_hex", "fingerprint"];
  const alone = cases.filter((one: Json) => Object.keys(one).every((key) => known.includes(key)));
  for (const { name, body, input_hex, fingerprint } of alone) {
    const of = body === "json" ? fingerprintJson : fingerprintBytes;
    check(`fingerprint: ${name}`, of(bytes(input_hex)), fingerprint);
  }
  return alone.length;
}

export const bytes = (hex: string) => fromHex(hex) ?? NOTHING;

function slotOf(slot: Json): Slot | undefined {
  if (!slot) return undefined;
  const { rev, lease_until: leaseUntil, gone_at: goneAt, head, body } = slot;
  return { rev, leaseUntil, goneAt, head: bytes(head), body: bytes(body) };
}

function slotJson(slot: Slot | undefined): unknown {
  if (!slot) return null;
  const { rev, leaseUntil: lease_until, goneAt: gone_at, head, body } = slot;
  return { rev, lease_until, gone_at, head: toHex(head), body: toHex(body) };
}

function swapOf({ slot, expect, put }: Json): Swap {
  if (put === "remove") return { slot, expect, put };
  const { rev, lease_for_ms: leaseFor, keep_for_ms: keepFor, head, body } = put.slot;
  return { slot, expect, put: { rev, leaseFor, keepFor, head: bytes(head), body: bytes(body) } };
}

function swapJson({ slot, expect, put }: Swap): unknown {
  if (put === "remove") return { slot, expect, put };
  const { rev, leaseFor: lease_for_ms, keepFor: keep_for_ms, head, body } = put;
  return {
    slot,
    expect,
    put: { slot: { rev, lease_for_ms, keep_for_ms, head: toHex(head), body: toHex(body) } },
  };
}

function replyJson(reply: Swapped): unknown {
  const verdict = reply.won ? "won" : { lost: slotJson(reply.slot) };
  return { now: reply.now, verdict };
}
