/** Law 2: what won is there for whoever opens the store next. */

import type { Slot } from "../../store.js";
import { difference } from "../words.js";
import { DAY, HOUR, type World, broken, name, newSlot } from "../world.js";

export async function outlivesItsStore(world: World): Promise<void> {
  const store = await world.another();
  const laid: [string, Slot | undefined][] = [];
  for (let number = 0; number < 10; number++) {
    const slot = name(`outlives ${number}`);
    const there = await world.lay(slot, "vacant", newSlot(HOUR, DAY));
    laid.push([slot, there]);
    if (number % 2 === 0) continue;
    const removed = await world.ask({ slot, expect: { rev: there.rev }, put: "remove" }, store);
    if (!removed.won) broken("another opening could not remove what was put");
    laid[number] = [slot, undefined];
  }
  await world.close(store);
  const next = await world.another();
  for (const [slot, there] of laid) {
    const differs = difference(there, (await world.look(slot, next)).slot);
    if (differs) broken(`the store was opened once more, and does not have what it said to have put: ${differs}`);
  }
}
