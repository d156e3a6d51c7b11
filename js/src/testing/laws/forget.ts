/** Law 4: `forget`, the one way to remove what is live. */

import type { Slot, SlotKey } from "../../store.js";
import { lying } from "../words.js";
import { DAY, HOUR, type World, broken, ensure, newSlot, slotKey } from "../world.js";

export async function forgetsWhatItIsTold(world: World): Promise<void> {
  const forget = async (prefix: SlotKey) => {
    if (world.store.forget === undefined) broken("it has no `forget`: `cannotForget` has to say so");
    await world.store.forget(prefix);
  };
  const other = await world.another();
  const theirs = [
    ["tenant-7", "user-1"],
    ["tenant-7", "user-1"],
    ["tenant-7", "user-1", "more"],
  ].map((scope, number) => slotKey(scope, `final-${number}`));
  // Of their scope, its beginning, its longer kin and their neighbours in order.
  const [first] = theirs as [SlotKey];
  const others = [
    slotKey(["tenant-7", "user-2"], "final-0"),
    slotKey(["tenant-7", "user-0"], "final-0"),
    slotKey(["tenant-7", "user-10"], "final-0"),
    slotKey(["tenant-7"], "user-1"),
    slotKey(["user-1"], "final-0"),
    slotKey(["tenant-7", "user-1x"], "final-0"),
    slotKey(["\u{10ffff}"], "final-0"),
  ];
  const scopes = [slotKey(["tenant-7", "user-1"], ""), slotKey(["tenant-7", "user-1", "more"], "")];
  const laid: Slot[] = [];
  for (const [number, slot] of [...theirs, ...others].entries()) {
    laid.push(await world.lay(slot, "vacant", newSlot(number % 2 ? 0 : HOUR, DAY)));
  }
  for (const scope of scopes) await forget(scope);
  for (const [number, slot] of [...theirs, ...others].entries()) {
    const { slot: there } = await world.look(slot, other);
    const forgotten = number < theirs.length;
    ensure(there?.rev === (forgotten ? undefined : laid[number]?.rev), () =>
      forgotten
        ? `a slot of the prefix that was to be forgotten is there still: ${lying(there)}`
        : `a slot whose name does not begin with the forgotten prefix is ${lying(there)} now`);
  }
  // Forgotten is vacant: it can be claimed, by whoever looks.
  const again = await world.ask({ slot: first, expect: "vacant", put: newSlot(HOUR, DAY) }, other);
  ensure(again.won, () => "a forgotten slot could not be claimed anew");
  await forget("");
  for (const slot of [first, ...others]) {
    const { slot: there } = await world.look(slot, other);
    ensure(there === undefined, () => `the empty prefix means all, and ${lying(there)} is there still`);
  }
}
