/** Law 1: storms on one slot, and counting up. */

import { apply } from "../../core/apply.js";
import type { NewSlot, Slot, SlotKey, Store, Swap } from "../../store.js";
import { difference, lying, told } from "../words.js";
import { DAY, HOUR, type World, broken, ensure, name, newSlot } from "../world.js";

/** How many callers, and how often. */
const STORMS = [
  [2, 100],
  [10, 40],
  [200, 5],
] as const;

/** The same with a fifth of the rounds, for slots that have to be laid beforehand. */
const SMALLER_STORMS = STORMS.map(([callers, rounds]) => [callers, rounds / 5] as const);

export async function storm(world: World): Promise<void> {
  const openings = [world.store, await world.another()];
  for (const [callers, rounds] of STORMS) {
    for (let round = 0; round < rounds; round++) {
      await allAtOnce(world, openings, name(`storm-${callers}-${round}`), callers, undefined);
    }
  }
}

export async function stormAfterTheEnd(world: World): Promise<void> {
  const openings = [world.store, await world.another()];
  for (const [callers, rounds] of SMALLER_STORMS) {
    const names = Array.from({ length: rounds }, (_, round) => name(`ended-${callers}-${round}`));
    let last = 0;
    for (const slot of names) {
      const laid = await world.lay(slot, "vacant", newSlot(world.soon / 2, world.soon));
      last = Math.max(last, laid.goneAt);
    }
    await world.until(last);
    for (const slot of names) await allAtOnce(world, openings, slot, callers, undefined);
  }
}

export async function stormOfTakers(world: World): Promise<void> {
  const openings = [world.store, await world.another()];
  for (const [callers, rounds] of SMALLER_STORMS) {
    const lapsed: [SlotKey, Slot][] = [];
    for (let round = 0; round < rounds; round++) {
      const slot = name(`lapsed-${callers}-${round}`);
      lapsed.push([slot, await world.lay(slot, "vacant", newSlot(world.soon / 2, DAY))]);
    }
    await world.until(Math.max(...lapsed.map(([, { leaseUntil }]) => leaseUntil)));
    for (const [slot, lying] of lapsed) await allAtOnce(world, openings, slot, callers, lying);
  }
}

/**
 * All at once: put where nothing lies, or in the place of what lies there. One wins, and the others
 * are told who.
 */
async function allAtOnce(world: World, openings: Store[], slot: SlotKey, callers: number, there: Slot | undefined) {
  const expect = there === undefined ? "vacant" : { rev: there.rev };
  const swaps = Array.from({ length: callers }, (): Swap & { put: NewSlot } => ({ slot, expect, put: newSlot(HOUR, DAY) }));
  const answers = await Promise.all(swaps.map((swap, caller) => world.ask(swap, openings[caller % 2])));
  const won = answers.flatMap((answer, caller) => (answer.won ? [{ swap: swaps[caller] as Swap, now: answer.now }] : []));
  const [winner] = won;
  if (winner === undefined || won.length !== 1) {
    broken(`of ${callers} callers that asked for one slot at once, ${won.length} won`);
  }
  const put = (apply(there, winner.swap, winner.now) as { slot: Slot }).slot;
  for (const answer of answers) {
    const differs = answer.won ? undefined : difference(put, answer.slot);
    if (differs) broken(`of ${callers} callers one lost, and not to the winner's slot: ${differs}`);
  }
  const after = difference(put, (await world.look(slot, openings[1])).slot);
  if (after) broken(`after ${callers} callers, it is not the winner's slot that lies there: ${after}`);
}

export async function stepsAreCounted(world: World): Promise<void> {
  const openings = [world.store, await world.another()];
  for (const [callers, steps] of [[2, 50], [10, 10], [50, 1]] as const) {
    const slot = name(`counter-${callers}`);
    await world.lay(slot, "vacant", numbered(0));
    const counting = Array.from({ length: callers }, (_, caller) => countUp(world, openings[caller % 2] as Store, slot, steps));
    everyStepOnce((await Promise.all(counting)).flat(), (await world.look(slot)).slot);
  }
}

/** Every caller made its steps, and no two made the same: then the counter stands at their sum. */
function everyStepOnce(made: number[], slot: Slot | undefined) {
  made.sort((one, other) => one - other);
  for (const [index, step] of made.entries()) {
    ensure(step === index + 1, () =>
      `callers counted a slot up, each from what it had seen to the next number; step ${Math.min(index + 1, step)} was made ${step <= index ? "twice" : "by nobody"}`);
  }
  ensure(slot !== undefined && number(slot) === made.length, () =>
    `callers counted a slot up by ${made.length} steps; what lies there is ${lying(slot)}, number ${slot && number(slot)}`);
}

/** Counts up by so many steps, each by the revision that was seen; gives which it made. */
async function countUp(world: World, store: Store, slot: SlotKey, steps: number): Promise<number[]> {
  const made: number[] = [];
  let seen: { rev: string; number: number } | undefined;
  const remember = (there: Slot | undefined) => {
    if (there === undefined) broken("a slot that callers count up by its revision is not there any more");
    seen = { rev: there.rev, number: number(there) };
  };
  remember((await world.look(slot, store)).slot);
  while (seen !== undefined && made.length < steps) {
    const put = numbered(seen.number + 1);
    const answer = await world.ask({ slot, expect: { rev: seen.rev }, put }, store);
    if (answer.won) {
      seen = { rev: put.rev, number: seen.number + 1 };
      made.push(seen.number);
    } else {
      remember(answer.slot);
    }
  }
  return made;
}

function numbered(number: number): NewSlot {
  return { ...newSlot(HOUR, DAY), body: Uint8Array.of(number >> 8, number & 255) };
}

function number({ body }: Slot): number {
  return ((body[0] as number) << 8) | (body[1] as number);
}

/** What one opening has put, the other finds, at once. */
export async function twoOpenings(world: World): Promise<void> {
  const openings = [world.store, await world.another()] as const;
  const slot = name("seen from both sides");
  let expect: Swap["expect"] = "vacant";
  for (let turn = 0; turn < 60; turn++) {
    const [mine, other] = turn % 2 === 0 ? openings : [openings[1], openings[0]];
    const put = newSlot(HOUR, DAY);
    const swap = { slot, expect, put };
    const answer = await world.ask(swap, mine);
    ensure(answer.won, () => `in turn ${turn} ${told(swap)} lost: an opening does not see what another one put`);
    const there = (await world.look(slot, other)).slot;
    ensure(there?.rev === put.rev, () =>
      `in turn ${turn} one opening put a slot and was told \`won\`; another one then found ${lying(there)}`);
    expect = { rev: put.rev };
  }
}
