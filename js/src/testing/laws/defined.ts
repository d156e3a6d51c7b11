/** Law 2: what wins, and what lies there then. */

import type { NewSlot, Swap } from "../../store.js";
import { DAY, Model, NIL, type World, fresh, name, newSlot, read } from "../world.js";

/** When, in the life of a slot, it is asked. */
const WHEN = ["at once", "the clock set back", "lapsed", "gone"] as const;

/** Every expectation on every state, with every kind of put. */
export async function everyCase(world: World): Promise<void> {
  const { soon } = world;
  const [lease, keep] = [Math.floor(soon / 3), soon];
  for (const when of WHEN) {
    if (when === "the clock set back" && (world.limits.neverStepsBack || world.limits.clockStandsApart)) continue;
    const cases: { model: Model; swap: Swap }[] = [];
    let laid = 0;
    for (const [number, { lies, expected, put }] of combinations(soon).entries()) {
      const slot = name(`case ${when} ${number}`);
      const model = new Model();
      if (lies) laid = Math.max(laid, await ask(world, model, { slot, expect: "vacant", put: newSlot(lease, keep) }));
      const revs = { own: model.slot?.rev ?? fresh(), another: fresh(), nil: NIL };
      const expect = expected === "vacant" ? expected : { rev: revs[expected] };
      cases.push({ model, swap: { slot, expect, put } });
    }
    if (when === "the clock set back") await world.step(-soon / 2);
    if (when === "lapsed") await world.until(laid + lease);
    if (when === "gone") await world.until(laid + keep);
    for (const { model, swap } of cases) {
      await ask(world, model, swap);
      await ask(world, model, read(swap.slot));
    }
  }
  await fromEndToEnd(world);
}

function combinations(soon: number) {
  const puts: (() => Swap["put"])[] = [
    () => newSlot(soon / 4, soon / 2),
    () => newSlot(0, soon * 2),
    () => newSlot(soon * 3, soon * 4),
    () => "remove",
  ];
  return [false, true].flatMap((lies) =>
    (["vacant", "own", "another", "nil"] as const).flatMap((expected) =>
      puts.map((put) => ({ lies, expected, put: put() })),
    ),
  );
}

/**
 * The shortest and the longest spans, an empty head and body in the place of full ones, and a
 * removal after which the name is as new.
 */
async function fromEndToEnd(world: World) {
  const slot = name("from end to end");
  const model = new Model();
  const longest = 200 * 365 * DAY;
  const bare = (put: NewSlot): NewSlot => ({ ...put, head: new Uint8Array(), body: new Uint8Array() });
  for (let round = 0; round < 2; round++) {
    for (const put of [
      newSlot(0, world.soon),
      bare(newSlot(1, 1)),
      newSlot(world.soon, longest),
      bare(newSlot(0, 0)),
      newSlot(longest, longest),
    ]) {
      const expect = model.slot === undefined ? ("vacant" as const) : { rev: model.slot.rev };
      await ask(world, model, { slot, expect, put });
      await ask(world, model, read(slot));
    }
    const remove: Swap = { slot, expect: { rev: model.slot?.rev ?? fresh() }, put: "remove" };
    await ask(world, model, remove);
    await ask(world, model, remove);
  }
}

async function ask(world: World, model: Model, swap: Swap): Promise<number> {
  const answer = await world.ask(swap);
  model.judge(swap, answer);
  return answer.now;
}
