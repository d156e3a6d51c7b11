/** Law 2 in time: half-open boundaries, and deadlines that never move back. */

import type { Swap } from "../../store.js";
import { HOUR, Model, type World, broken, ensure, fresh, name, newSlot, read } from "../world.js";

/**
 * Asks in the last millisecond in which a slot is there, and in the first in which it is not: with a
 * read, a claim, a swap by its revision and a removal. Where the clock runs by itself it asks all the
 * time until the slot is gone.
 */
export async function boundaries(world: World): Promise<void> {
  const kept = world.standsStill ? HOUR : 20;
  for (let kind = 0; kind < 4; kind++) {
    for (const off of [-1, 0]) {
      const slot = name(`boundary ${kind} ${off}`);
      const model = new Model();
      const lay: Swap = { slot, expect: "vacant", put: newSlot(kept / 2, kept) };
      model.judge(lay, await world.ask(lay));
      const { rev, goneAt } = model.slot ?? broken("the definition lays nothing");
      if (world.standsStill) await world.step(goneAt + off - world.room.now());
      for (let there = true; there; ) {
        const swap = ([
          read(slot),
          { slot, expect: "vacant", put: newSlot(kept, kept) },
          { slot, expect: { rev: fresh() }, put: newSlot(kept, kept) },
          { slot, expect: { rev: fresh() }, put: "remove" },
        ] satisfies Swap[])[kind] as Swap;
        const answer = await world.ask(swap);
        model.judge(swap, answer);
        there = !world.standsStill && answer.now < goneAt;
      }
      for (const put of [newSlot(kept, kept), "remove" as const]) {
        const swap: Swap = { slot, expect: { rev }, put };
        model.judge(swap, await world.ask(swap));
      }
    }
  }
}

/** A slot is replaced with shorter spans, with none, and after the clock was set back. */
export async function neverBack(world: World): Promise<void> {
  const { soon } = world;
  const mayStepBack = !world.limits.neverStepsBack && !world.limits.clockStandsApart;
  const slot = name("never back");
  const model = new Model();
  for (const [leaseFor, keepFor, setBack] of [
    [soon / 2, soon, false],
    [soon / 10, soon / 10, false],
    [soon / 4, soon / 4, true],
    [0, soon / 2, false],
    [soon / 10, 0, false],
    [0, 0, true],
    [soon / 2, soon / 10, true],
    [soon, soon * 2, false],
    [soon, soon, true],
  ] as const) {
    if (setBack && mayStepBack) {
      const before = (await world.look(slot)).now;
      await world.step(-soon / 2);
      const after = (await world.look(slot)).now;
      ensure(after < before, () =>
        "the clock was set back by half an hour and shows no earlier time: `step` has to do that, or `neverStepsBack` to say so");
    }
    const before = model.slot;
    const swap: Swap = {
      slot,
      expect: before === undefined ? "vacant" : { rev: before.rev },
      put: newSlot(leaseFor, keepFor),
    };
    const answer = await world.ask(swap);
    model.judge(swap, answer);
    const there = (await world.look(slot)).slot;
    if (before !== undefined && there !== undefined) {
      const kept = there.goneAt >= before.goneAt && (there.leaseUntil >= before.leaseUntil || leaseFor === 0);
      ensure(kept, () =>
        `a slot with a lease until ${before.leaseUntil} and gone at ${before.goneAt} was replaced by one with a lease of ${leaseFor} ms, kept ${keepFor} ms, at ${answer.now}; now its lease ends at ${there.leaseUntil} and it is gone at ${there.goneAt}`);
    }
    model.judge(read(slot), await world.ask(read(slot)));
  }
  // A removal ends it: what comes next starts anew.
  for (const swap of [
    { slot, expect: { rev: model.slot?.rev ?? fresh() }, put: "remove" },
    { slot, expect: "vacant", put: newSlot(soon / 10, soon / 10) },
    read(slot),
  ] satisfies Swap[]) {
    model.judge(swap, await world.ask(swap));
  }
}
