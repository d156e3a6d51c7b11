/** Law 4: nothing goes before its time, whatever purges or is full. */

import type { Slot, SlotKey, Store, Swap } from "../../store.js";
import { difference, lying, told, verdict } from "../words.js";
import { DAY, HOUR, type World, broken, ensure, name, newSlot } from "../world.js";
import { codeOf, secret, showsNoSecret } from "./errors.js";

export async function untilItsTime(world: World): Promise<void> {
  await purgedAndCounted(world);
  const { soon } = world;
  const laid: [SlotKey, Slot][] = [];
  for (let number = 1; number <= 24; number++) {
    const slot = name(`kept ${number}`);
    const keep = (soon * (1 + (number % 6))) / 2;
    // Leases that end with the slot, before it, at once, and after it.
    const lease = [keep, keep / 2, 0, keep * 2][number % 4] as number;
    let there = await world.lay(slot, "vacant", newSlot(lease, keep));
    if (number % 5 === 0) there = await world.lay(slot, { rev: there.rev }, newSlot(lease, keep + soon));
    laid.push([slot, there]);
  }
  const times = [...new Set(laid.map(([, { goneAt }]) => goneAt))].sort((one, other) => one - other);
  for (const goneAt of times.filter((_, index) => index % 4 === 0 || world.standsStill)) {
    await world.until(goneAt);
    await world.purge();
    for (const [slot, expected] of laid) {
      const { now, slot: there } = await world.look(slot);
      const kept = now < expected.goneAt;
      const differs = difference(kept ? expected : undefined, there);
      ensure(differs === undefined, () =>
        `after a purge, at ${now}, a slot with a lease until ${expected.leaseUntil} that is gone at ${expected.goneAt} is ${kept ? "not as it was" : "still there"}: ${differs}`);
    }
  }
}

/** A purge removes all that is gone, and says how many that were. */
async function purgedAndCounted(world: World) {
  const { soon } = world;
  const staying = name("stays");
  const lapsed = await world.lay(staying, "vacant", newSlot(0, DAY));
  let last = 0;
  for (let number = 0; number < 10; number++) {
    // Nothing is asked from here to the purge but this: many stores collect as they are asked.
    const lay: Swap = { slot: name(`goes ${number}`), expect: "vacant", put: newSlot(soon / 2, soon) };
    const answer = await world.ask(lay);
    ensure(answer.won, () => `${told(lay)} lost`);
    last = answer.now + soon;
  }
  if (world.limits.clockStandsApart) await new Promise((done) => setTimeout(done, soon + 20));
  else await world.step(soon + 20);
  for (const expected of [10, 0]) {
    const counted = await world.purge();
    const { now, slot } = await world.look(staying);
    ensure(now >= last, () => "the clock was moved, and the store does not go by it");
    const differs = difference(lapsed, slot);
    if (differs) broken(`a purge took a slot along whose lease was over, but that was to be kept for a day: ${differs}`);
    if (counted !== undefined && counted !== expected) {
      broken(`10 slots were gone; ${expected ? "the first" : "the second"} purge after that said that it removed ${counted}`);
    }
  }
}

/**
 * Slots are claimed anew the moment they are gone, or prolonged the moment before, while purges run
 * beside it.
 */
export async function purgeSparesTheNew(world: World): Promise<void> {
  const other = await world.another();
  const kept = world.limits.clockStandsApart ? 20 : 1_000;
  for (let round = 0; round < 24; round++) {
    const names = Array.from({ length: 6 }, (_, number) => name(`generation ${round} ${number}`));
    const old = await Promise.all(names.map((slot) => world.lay(slot, "vacant", newSlot(kept, kept))));
    const prolonged = round % 3 === 0;
    if (!prolonged) await world.until(Math.max(...old.map(({ goneAt }) => goneAt)));
    const put = names.map(() => newSlot(HOUR, DAY));
    const claims = names.map(async (slot, number) => {
      await turns((round + number) % 5);
      const expect = prolonged ? { rev: (old[number] as Slot).rev } : "vacant";
      const swap = { slot, expect, put: put[number] as Swap["put"] } as const;
      const answer = await world.ask(swap, number % 2 ? other : world.store);
      // With a clock that runs it may have been too late.
      ensure(answer.won || (prolonged && answer.now >= (old[number] as Slot).goneAt), () =>
        `while purges ran, ${told(swap)} was answered ${verdict(answer)}`);
      return answer.won;
    });
    const [won] = await Promise.all([Promise.all(claims), purges(world, world.store, round), purges(world, other, round)]);
    if (prolonged) await world.until(Math.max(...old.map(({ goneAt }) => goneAt)));
    await world.purge(other);
    for (const [number, slot] of names.entries()) {
      const { now, slot: there } = await world.look(slot);
      ensure(!won[number] || there?.rev === put[number]?.rev, () =>
        `while purges ran, a slot was ${prolonged ? "prolonged before it was gone" : "claimed anew after it was gone"}, to be kept for a day; then, at ${now}, ${lying(there)} lay there`);
    }
  }
}

async function purges(world: World, store: Store, round: number) {
  for (let purge = 0; purge < 3; purge++) {
    await turns(round % 4);
    await world.purge(store);
  }
}

async function turns(count: number) {
  for (let turn = 0; turn < count; turn++) await Promise.resolve();
}

export async function fullFailsLoudly(world: World): Promise<void> {
  const { soon } = world;
  const capacity = world.room.capacity as number;
  const laid: [SlotKey, Slot][] = [];
  for (let number = 0; number < capacity; number++) {
    const slot = name(`seat ${number}`);
    laid.push([slot, await world.lay(slot, "vacant", newSlot(number % 2 ? 0 : soon / 4, soon))]);
  }
  await oneMoreIsRefused(world, laid);
  await world.until((laid[0] as [SlotKey, Slot])[1].leaseUntil);
  await oneMoreIsRefused(world, laid);
  // A full store still serves those who are in it, and room that is left is room.
  const [slot, there] = laid[0] as [SlotKey, Slot];
  const { rev } = await world.lay(slot, { rev: there.rev }, newSlot(soon, soon));
  await world.ask({ slot, expect: { rev }, put: "remove" });
  await world.lay(name("takes its seat"), "vacant", newSlot(soon, soon / 10));
  await world.until((laid.at(-1) as [SlotKey, Slot])[1].goneAt);
  for (let number = 0; number < capacity; number++) {
    await world.lay(name(`after them ${number}`), "vacant", newSlot(soon, soon));
  }
}

async function oneMoreIsRefused(world: World, laid: [SlotKey, Slot][]) {
  const outcome = await world.tryAsk(secret());
  if (!("error" in outcome)) {
    broken(`a store with room for ${laid.length} held as many, all kept still; one more was answered ${verdict(outcome.swapped)}`);
  }
  showsNoSecret(outcome.error);
  ensure(codeOf(outcome.error) === "STORE_FULL", () => `a full store has to say STORE_FULL; it says: ${outcome.error}`);
  for (const [slot, expected] of laid) {
    const { now, slot: there } = await world.look(slot);
    const differs = difference(expected, there);
    ensure(differs === undefined || now >= expected.goneAt, () =>
      `a full store let go of what was kept until ${expected.goneAt}, at ${now}: ${differs}`);
  }
}
