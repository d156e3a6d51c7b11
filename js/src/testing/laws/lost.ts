/** Law 3: a swap that lost. */

import type { Swap } from "../../store.js";
import { difference, told, verdict } from "../words.js";
import { HOUR, NIL, type World, broken, ensure, fresh, name, newSlot, read } from "../world.js";

export async function changesNothing(world: World): Promise<void> {
  const slot = name("defeated");
  const there = await world.lay(slot, "vacant", newSlot(HOUR, HOUR));
  for (const expect of ["vacant", { rev: fresh() }, { rev: NIL }] as const) {
    for (const put of [newSlot(HOUR * 2, HOUR * 3), newSlot(0, 0), "remove"] as const) {
      const swap: Swap = { slot, expect, put };
      const answer = await world.ask(swap);
      if (answer.won) broken(`${told(swap)} won, though another slot lay there`);
      const by = difference(there, answer.slot);
      if (by) broken(`${told(swap)} did not hand back what defeated it: ${by}`);
      const after = difference(there, (await world.look(slot)).slot);
      if (after) broken(`${told(swap)} lost, and changed the slot: ${after}`);
    }
  }
  await neverOneThatIsGone(world);
}

async function neverOneThatIsGone(world: World) {
  const slot = name("gone by now");
  const gone = await world.lay(slot, "vacant", newSlot(world.soon, world.soon));
  await world.until(gone.goneAt);
  const expect = { rev: gone.rev };
  for (const swap of [
    read(slot),
    { slot, expect, put: "remove" },
    { slot, expect, put: newSlot(HOUR, HOUR) },
  ] satisfies Swap[]) {
    const answer = await world.ask(swap);
    ensure(!answer.won && answer.slot === undefined, () =>
      `${told(swap)} was answered ${verdict(answer)} at ${answer.now}, when the slot had been gone since ${gone.goneAt}`);
  }
  await world.lay(slot, "vacant", newSlot(HOUR, HOUR));
}
