/** Law 2 at random: commands whose every answer has to be that of the definition. */

import { toHex } from "../../core/bytes.js";
import type { NewSlot, Rev, SlotKey, Store, Swap, Swapped } from "../../store.js";
import { Draws } from "../draws.js";
import { told, verdict } from "../words.js";
import { Model, NIL, Seen, type World, name, read } from "../world.js";

/** 3,200 commands in all. */
const PHASES = 40;
const LANES = 8;
const COMMANDS = 10;
const NAMES = 8;

/**
 * In each phase some lanes give commands side by side, each to slots of its own. Between two phases
 * the clock is moved.
 */
export async function randomCommands(world: World): Promise<void> {
  const { seed } = world;
  try {
    await play(world, new Draws(seed));
  } catch (error) {
    if (error instanceof Seen) error.message += `\n  to draw the same again: { seed: ${seed} }`;
    throw error;
  }
}

async function play(world: World, draws: Draws) {
  const openings = [world.store, await world.another()];
  const lanes = Array.from({ length: LANES }, (_, lane) => new Lane(lane, new Draws(draws.below(2 ** 32))));
  const steps = [1, 1, 2, 2, 3, 5, 10, 15, 50, 1_000, 59_999, 60_000, 3_600_000, 90_000_000];
  const apart = world.limits.clockStandsApart;
  for (let phase = 0; phase < PHASES; phase++) {
    await Promise.all(lanes.map((lane, number) => lane.commands(world, openings[number % 2] as Store)));
    if (!apart && !world.limits.neverStepsBack && draws.below(3) === 0) {
      // A clock that runs may stand a little further by now.
      const now = (await world.look(name("the time"))).now + (world.standsStill ? 0 : 1_000);
      for (const place of lanes.flatMap(({ places }) => places)) {
        place.mayBePurged ||= (place.model.slot?.goneAt ?? Infinity) <= now;
      }
      await world.step(-draws.oneOf(steps));
    } else if (!apart) {
      await world.step(draws.oneOf(steps));
    }
  }
}

/** Some slots, and what has to lie there. */
class Lane {
  readonly places: Place[];

  constructor(
    lane: number,
    readonly draws: Draws,
  ) {
    this.places = Array.from({ length: NAMES }, (_, number) => new Place(name(`lane ${lane} ${number}`)));
  }

  async commands(world: World, store: Store) {
    for (let command = 0; command < COMMANDS; command++) {
      const place = this.places[Math.min(this.draws.below(NAMES), this.draws.below(NAMES))] as Place;
      const swap = this.draw(place);
      place.judge(swap, await world.ask(swap, store));
    }
  }

  draw({ slot, model, past }: Place): Swap {
    const { draws } = this;
    const strange = toHex(draws.bytes(16));
    const choice = draws.below(100);
    let expect: Swap["expect"] = { rev: strange };
    if (choice < 30) expect = "vacant";
    else if (choice < 75) expect = { rev: model.slot?.rev ?? strange };
    else if (choice < 83) expect = { rev: draws.oneOf(past) ?? strange };
    else if (choice < 88) expect = { rev: draws.oneOf(this.places).model.slot?.rev ?? strange };
    else if (choice < 92) expect = { rev: NIL };
    else return read(slot);
    return { slot, expect, put: draws.below(6) === 0 ? "remove" : this.#put() };
  }

  #put(): NewSlot {
    const { draws } = this;
    const spans = [0, 0, 1, 2, 3, 5, 10, 20, 50, 1_000, 1_001, 59_999, 60_000, 3_600_000, 86_400_000];
    return {
      rev: toHex(draws.bytes(16)),
      leaseFor: draws.oneOf(spans),
      keepFor: draws.oneOf(spans),
      head: draws.bytes(draws.oneOf([0, 1, 53, 60, 101, 111])),
      body: draws.bytes(draws.oneOf([0, 0, 1, 16, 100, 511, 512, 2_000])),
    };
  }
}

class Place {
  readonly model = new Model();
  /** It was gone, and then the clock was set back: it may be there again or not. */
  mayBePurged = false;
  /** Revisions that have lain there. */
  readonly past: Rev[] = [];
  /** What was said lately: enough to see what went wrong. */
  readonly #story: string[] = [];

  constructor(readonly slot: SlotKey) {}

  judge(swap: Swap, answer: Swapped) {
    this.#story.push(`\n    at ${answer.now}: ${told(swap)} -> ${verdict(answer)}`);
    if (this.#story.length > 12) this.#story.shift();
    if (answer.won && swap.put !== "remove") this.past.push(swap.put.rev);
    if (this.mayBePurged && this.#wasPurged(swap, answer)) return;
    try {
      this.model.judge(swap, answer);
    } catch (error) {
      if (error instanceof Seen) error.message += `\n  what was said to this slot:${this.#story.join("")}`;
      throw error;
    }
  }

  /** Whether the answer is that of a slot where nothing lies. It may be that of both. */
  #wasPurged(swap: Swap, answer: Swapped): boolean {
    const kept = new Model();
    const purged = new Model();
    kept.slot = this.model.slot;
    const asKept = agrees(kept, swap, answer);
    const asPurged = agrees(purged, swap, answer);
    this.mayBePurged = asKept && asPurged && !answer.won;
    if (asPurged) this.model.slot = (asKept ? kept : purged).slot;
    return asPurged;
  }
}

function agrees(model: Model, swap: Swap, answer: Swapped): boolean {
  try {
    model.judge(swap, answer);
    return true;
  } catch (error) {
    if (error instanceof Seen) return false;
    throw error;
  }
}
