/** Random operations on a few keys, the same for the same seed, with a transcript of every question
 *  to the core and its answer. Runs in Node and in a page. */
import { apply } from "../src/core/apply.js";
import type { Fingerprint } from "../src/core/fingerprint.js";
import { canonicalize, fingerprintJson } from "../src/core/fingerprint.js";
import * as machine from "../src/core/machine.js";
import { core, useCore } from "../src/core/registry.js";
import { policyOf } from "../src/policy.js";
import { slotName } from "../src/core/slot-key.js";
import { IdempError } from "../src/errors.js";
import type { Slot } from "../src/store.js";

export type Heard = (question: number, bytes: Uint8Array, answer: Uint8Array) => void;

/** Carries out so many operations; `heard` gets all that was said. How often each came about. */
export function operate(count: number, seed: number, heard: Heard): Record<string, number> {
  const real = core();
  useCore(() => (question, bytes) => {
    const answer = real(question, bytes);
    heard(question, bytes, answer);
    return answer;
  });
  const tally: Record<string, number> = {};
  try {
    const world = new World(seed);
    for (let done = 0; done < count; done++) {
      const what = world.step();
      tally[what] = (tally[what] ?? 0) + 1;
    }
  } finally {
    useCore(() => real);
  }
  return tally;
}

class World {
  private readonly slots = new Map<string, Slot>();
  private readonly held: machine.Held[] = [];
  private now = 1_000_000;
  private state: number;
  private readonly names = ["a", "b", "c"].map((key) => slotName(["user", "route"], key));
  private readonly prints = ["{}", '{"a":1}'].map((body) => fingerprintJson(body));
  private readonly policies: machine.CheckedPolicy[];

  constructor(seed: number) {
    this.state = seed || 1;
    const spans = { retention: 1000, lease: 100, ceiling: 250 };
    this.policies = [
      policyOf(spans),
      policyOf({ ...spans, tombstone: 500 }),
      policyOf({ ...spans, onLapse: "fence" }),
      policyOf({ usage: "while-active", retention: 1000, lease: 100 }),
    ];
  }

  /** One operation, by name. */
  step(): string {
    if (this.below(3) === 0) this.now += [1, 40, 99, 100, 250, 1000][this.below(6)]!;
    const slot = this.of(this.names);
    const policy = this.of(this.policies);
    switch (this.below(8)) {
      case 0:
      case 1:
      case 2: {
        const print = this.below(5) ? this.prints[0]! : this.prints[1]!;
        const decision = this.drive(machine.begin(slot, print as Fingerprint, policy, this.random));
        if (decision instanceof IdempError) return decision.code;
        if (decision.type === "miss") this.hold(decision.lease);
        return decision.type;
      }
      case 3:
        return `peek ${(this.drive(machine.peek(slot, policy, this.random)) as { state?: string } | undefined)?.state}`;
      case 4: {
        const outcome = this.below(2) ? this.bytes() : undefined;
        const resolved = this.drive(machine.resolve(slot, outcome, policy, this.random));
        return `resolve ${resolved}`;
      }
      case 5:
        return this.text();
      default: {
        const held = this.held.length && this.of(this.held);
        if (!held) return "nothing held";
        const verb = this.verb();
        const reply = this.drive(machine.say(this.below(4) ? held : { ...held, published: null }, verb, this.random));
        if (reply instanceof IdempError) return reply.code;
        if (reply.type === "held") this.hold(reply.held);
        return `${verb.verb} ${reply.type}`;
      }
    }
  }

  /** A JSON text with what makes two texts of one, and perhaps no JSON at all. */
  private text(): string {
    const numbers = ["1", "1.0", "-0", "1e400", "9007199254740993", "0.10"];
    const names = ["a", "b", "\\u0061", "é", "\u{1f600}"];
    const members = Array.from({ length: this.below(5) }, () => `"${this.of(names)}": ${this.of(numbers)}`);
    const text = `{${members.join(",")}${this.below(6) ? "" : ","}}`;
    fingerprintJson(text);
    try {
      canonicalize(text);
      return "canonical";
    } catch (error) {
      if (error instanceof IdempError) return error.code;
      throw error;
    }
  }

  private verb(): machine.Verb {
    const verb = this.of(["finish", "publish", "unstorable", "fence", "renew", "release", "forget"] as const);
    return verb === "finish" || verb === "publish" ? { verb, body: this.bytes() } : { verb };
  }

  private drive<D>(call: machine.Machine<D>): D | IdempError {
    try {
      let step = call.start();
      while (!("done" in step)) {
        const { slot } = step.ask;
        const applied = apply(this.slots.get(slot), step.ask, this.now);
        if ("slot" in applied) {
          if (applied.slot) this.slots.set(slot, applied.slot);
          else this.slots.delete(slot);
        }
        // Now and then another one comes between, or the record is damaged.
        const odd = this.below(400);
        const lies = this.slots.get(slot);
        if (odd === 0 && lies) this.slots.set(slot, { ...lies, head: lies.head.subarray(0, this.below(60)) });
        if (odd === 1) this.slots.delete(slot);
        step = odd === 2 ? call.start() : call.onReply(applied.swapped);
      }
      return step.done;
    } catch (error) {
      if (error instanceof IdempError) return error;
      throw error;
    }
  }

  private hold(held: machine.Held): void {
    this.held.push(held);
    if (this.held.length > 6) this.held.shift();
  }

  private bytes(): Uint8Array {
    return Uint8Array.from({ length: this.below(4) }, () => this.below(3));
  }

  private readonly random = () => Uint8Array.from({ length: 16 }, () => this.below(256));

  private of<T>(list: readonly T[]): T {
    return list[this.below(list.length)]!;
  }

  /** xorshift32. */
  private below(end: number): number {
    this.state ^= this.state << 13;
    this.state ^= this.state >>> 17;
    this.state ^= this.state << 5;
    this.state >>>= 0;
    return this.state % end;
  }
}
