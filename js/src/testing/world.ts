import { apply } from "../core/apply.js";
import { toHex } from "../core/bytes.js";
import type { NewSlot, Rev, Slot, SlotKey, Store, Swap, Swapped } from "../store.js";
import { type Limits, Room, type Subject } from "./subject.js";
import { difference, lying, told, verdict } from "./words.js";

/** Matches no slot. */
export const NIL: Rev = "0".repeat(32);

/** Milliseconds: far more than a test takes. */
export const HOUR = 3_600_000;
export const DAY = 24 * HOUR;

/** After so long an ask counts as never answered. */
const PATIENCE = 60_000;

/** What was seen that the law forbids. */
export class Seen extends Error {}

/** Ends a law that is broken. */
export function broken(what: string): never {
  throw new Seen(what);
}

/** Goes on where the law holds. */
export function ensure(holds: boolean, what: () => string): asserts holds {
  if (!holds) broken(what());
}

/** A store in its room, and how a law asks it. */
export class World {
  readonly limits: Limits;
  /** What a test wants to see go is kept so long: the clock is moved, or waited for. */
  readonly soon: number;
  readonly #opened: Store[] = [];

  private constructor(
    readonly subject: Subject,
    readonly room: Room,
    readonly seed: number,
  ) {
    this.limits = subject.limits ?? {};
    this.soon = this.limits.clockStandsApart ? 300 : HOUR;
  }

  static async enter(subject: Subject, seed: number, capacity?: number): Promise<World> {
    const world = new World(subject, new Room(capacity), seed);
    world.#opened.push(await subject.open(world.room));
    return world;
  }

  async leave(): Promise<void> {
    for (const store of this.#opened) await store.close?.();
    await this.subject.leave?.(this.room);
  }

  get store(): Store {
    return this.#opened[0] as Store;
  }

  /** Another opening of the same store; the same one where there is no other. */
  async another(): Promise<Store> {
    if (this.limits.oneOpening) return this.store;
    const store = await this.subject.open(this.room);
    this.#opened.push(store);
    return store;
  }

  async close(store: Store): Promise<void> {
    this.#opened.splice(this.#opened.lastIndexOf(store), 1);
    await store.close?.();
  }

  async ask(swap: Swap, store = this.store): Promise<Swapped> {
    const outcome = await this.tryAsk(swap, store);
    if ("error" in outcome) broken(`${told(swap)} was answered with an error: ${outcome.error}`);
    return outcome.swapped;
  }

  /** Asks where an error may be the right answer. */
  async tryAsk(swap: Swap, store = this.store): Promise<{ swapped: Swapped } | { error: unknown }> {
    const before = this.room.now();
    let outcome: { swapped: Swapped } | { error: unknown };
    try {
      outcome = { swapped: await patiently(() => store.swap(swap), told(swap)) };
    } catch (error) {
      if (error instanceof Seen) throw error;
      return { error };
    }
    const { swapped } = outcome;
    ensure(swapped.won || swapped.slot === undefined || (typeof swapped.slot === "object" && swapped.slot !== null), () =>
      `${told(swap)} lost to something that is neither a slot nor \`undefined\``);
    const { now } = swapped;
    ensure(Number.isSafeInteger(now), () => `${told(swap)} was answered at ${now}, which is no time in whole milliseconds`);
    if (this.#clock === "still") {
      ensure(before <= now && now <= this.room.now(), () =>
        `the store says that it is ${now}, and its clock shows ${this.room.now()}: give it \`room.now\`, or say in the subject which clock it goes by`);
    }
    return outcome;
  }

  /** What lies there, and the store's time. */
  async look(slot: SlotKey, store = this.store): Promise<{ now: number; slot: Slot | undefined }> {
    const swapped = await this.ask(read(slot), store);
    if (swapped.won) broken("a read won, so it removed what it read");
    return swapped;
  }

  /** Puts what has to win, and hands back what has to lie there now. */
  async lay(slot: SlotKey, expect: Swap["expect"], put: NewSlot): Promise<Slot> {
    const swap = { slot, expect, put };
    const swapped = await this.ask(swap);
    ensure(swapped.won, () => `${told(swap)} was answered ${verdict(swapped)}`);
    const there = await this.look(slot);
    if (there.slot === undefined) {
      ensure(swapped.now + put.keepFor <= there.now, () => `${told(swap)} won, and then nothing lay there`);
      // It took too long to look.
      return (apply(undefined, { ...swap, expect: "vacant" }, swapped.now) as { slot: Slot }).slot;
    }
    return there.slot;
  }

  get #clock(): "still" | "running" | "apart" {
    if (this.limits.clockStandsApart) return "apart";
    return this.subject.step ? "running" : "still";
  }

  /** Whether the clock can be set to a millisecond and stays there. */
  get standsStill(): boolean {
    return this.#clock === "still";
  }

  async step(byMs: number): Promise<void> {
    this.room.offset += byMs;
    await this.subject.step?.(this.room, byMs);
  }

  /** Lets the store's time pass until `then`: moves its clock, or waits. */
  async until(then: number): Promise<void> {
    for (let tries = 0; tries < 10; tries++) {
      const { now } = await this.look(slotKey(["tenant-7"], "what time is it"));
      if (now >= then) return;
      if (this.#clock === "apart") await new Promise((done) => setTimeout(done, then - now));
      else await this.step(then - now);
    }
    broken(`the store's clock does not go on: it was waited for, or moved, to be ${then}`);
  }

  async purge(store = this.store): Promise<number | undefined> {
    return this.subject.purge?.(store);
  }
}

/** Waits for an answer, within reason. */
async function patiently<T>(ask: () => T | Promise<T>, what: string): Promise<T> {
  const asked = ask();
  if (!(asked instanceof Promise)) return asked;
  let timer: ReturnType<typeof setTimeout> | undefined;
  const never = new Promise<never>((_, reject) => {
    timer = setTimeout(() => reject(new Seen(`${what} was not answered within ${PATIENCE / 1000} s`)), PATIENCE);
  });
  try {
    return await Promise.race([asked, never]);
  } finally {
    clearTimeout(timer);
  }
}

/** Asks what lies there: it loses. */
export function read(slot: SlotKey): Swap {
  return { slot, expect: { rev: NIL }, put: "remove" };
}

export function fresh(): Rev {
  return toHex(crypto.getRandomValues(new Uint8Array(16)));
}

/** A new slot with some bytes of its own. */
export function newSlot(leaseFor: number, keepFor: number): NewSlot {
  const rev = fresh();
  const bytes = new TextEncoder().encode(rev);
  return { rev, leaseFor, keepFor, head: bytes.slice(0, 12), body: bytes.slice(4) };
}

/** The name of a slot: the number of scope parts, each with its length before it, then the key. */
export function slotKey(scope: readonly string[], key: string): SlotKey {
  const encoder = new TextEncoder();
  const bytes = [scope.length];
  for (const part of scope) {
    const framed = encoder.encode(part);
    bytes.push(framed.length >> 8, framed.length & 255, ...framed);
  }
  return toHex(Uint8Array.from([...bytes, ...encoder.encode(key)]));
}

/** A slot's name, for most laws. */
export function name(key: string): SlotKey {
  return slotKey(["tenant-7", "user-1"], key);
}

/** What has to lie in a slot, as the definition says. */
export class Model {
  slot: Slot | undefined;

  /** Whether this is the answer of the definition, at the time that the store said it was. */
  judge(swap: Swap, swapped: Swapped): void {
    const before = this.slot;
    const applied = apply(before, swap, swapped.now);
    const expected: Swapped = applied.swapped;
    if (expected.won && swapped.won) {
      const { slot } = applied as { slot: Slot | undefined };
      // The store may not keep the caller's arrays, and neither may this.
      this.slot = slot && { ...slot, head: new Uint8Array(slot.head), body: new Uint8Array(slot.body) };
      return;
    }
    let how: string | undefined = `it has to be ${verdict(expected)}`;
    if (!expected.won && !swapped.won) how = difference(expected.slot, swapped.slot);
    if (how === undefined) return;
    broken(`${told(swap)}, at ${swapped.now} on the store's clock, was answered ${verdict(swapped)}; ${how}; ${lying(before)} lay there`);
  }
}
