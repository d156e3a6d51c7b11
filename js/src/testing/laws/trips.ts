/** Law 8: trips. */

import type { Swap } from "../../store.js";
import { told } from "../words.js";
import { HOUR, type World, broken, name, newSlot, read } from "../world.js";

/** Where the store counts its trips. */
export async function oneTripACall(world: World): Promise<void> {
  const { trips } = world.subject;
  if (trips === undefined) return;
  const slot = name("call by call");
  const [first, second] = [newSlot(HOUR, HOUR), newSlot(HOUR, HOUR)];
  for (const swap of [
    read(slot),
    { slot, expect: "vacant", put: first },
    { slot, expect: "vacant", put: first },
    read(slot),
    { slot, expect: { rev: first.rev }, put: second },
    { slot, expect: { rev: first.rev }, put: second },
    { slot, expect: { rev: first.rev }, put: "remove" },
    { slot, expect: { rev: second.rev }, put: "remove" },
    { slot, expect: { rev: second.rev }, put: "remove" },
  ] satisfies Swap[]) {
    const before = trips(world.store);
    await world.ask(swap);
    const made = trips(world.store) - before;
    if (made !== 1) broken(`${told(swap)} made ${made} trips to the records`);
  }
}
