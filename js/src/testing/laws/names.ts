/** Law 7: names. */

import type { Slot, SlotKey } from "../../store.js";
import { difference, lying, verdict } from "../words.js";
import { HOUR, type World, broken, ensure, name, newSlot, slotKey } from "../world.js";

export async function namesNeverAlias(world: World): Promise<void> {
  const names = hostile();
  // Whoever is removed first may take the other along, so once in each order.
  await putAndRemove(world, names);
  await putAndRemove(world, names.reverse());
}

/** These names are the suite's own, and no secret. */
type Named = readonly [slot: SlotKey, shown: string];

async function putAndRemove(world: World, names: Named[]) {
  const laid: [Named, Slot][] = [];
  for (const named of names) {
    const there = (await world.look(named[0])).slot;
    ensure(there === undefined, () => `${named[1]} finds what was put under another name`);
    laid.push([named, await world.lay(named[0], "vacant", newSlot(HOUR, HOUR))]);
  }
  for (const [[slot, shown], there] of laid) {
    const differs = difference(there, (await world.look(slot)).slot);
    if (differs) broken(`${shown} does not find what was put under it: ${differs}`);
  }
  for (const [[slot, shown], { rev }] of laid) {
    const answer = await world.ask({ slot, expect: { rev }, put: "remove" });
    ensure(answer.won, () => `${shown} was taken along when another name was removed: its own removal was answered ${verdict(answer)}`);
    const there = (await world.look(slot)).slot;
    ensure(there === undefined, () => `${shown} is there after it was removed: ${lying(there)}`);
  }
}

/** Names that somebody's joining, folding, trimming, cutting or quoting would make one. */
function hostile(): Named[] {
  const [long, part] = ["k".repeat(255), "p".repeat(255)];
  const wide = "ü".repeat(127);
  const full = Array.from({ length: 8 }, () => part);
  const pairs: [scope: string[], key: string][] = [
    // Where one part ends and the next begins.
    [["a:b"], "c"],
    [["a"], "b:c"],
    [["a", "b"], "c"],
    [["a", "b", "c"], "c"],
    [["ab", "c"], "d"],
    [["a", "bc"], "d"],
    [["a"], "bcd"],
    [["a/b"], "c"],
    [["a"], "b/c"],
    // The bytes of a frame, in a part or a key.
    [["x"], "!y"],
    [["x!"], "y"],
    [["tenant-7", "user-1"], "final"],
    [["tenant-7", "user-2"], "final"],
    [["tenant-7", "user-1", "final"], "final"],
    // One is the beginning of the other.
    [["a"], "final-1"],
    [["a"], "final-10"],
    [["a"], "final-100"],
    // The longest, and those that a cut would make one.
    [["a"], long],
    [["a"], long.slice(1)],
    [["a"], `${long.slice(1)}x`],
    [["a"], wide],
    [["a"], wide.slice(1)],
    [[part], "k"],
    [[part.slice(1)], "k"],
    [full, long],
    [full, long.slice(1)],
    [full, `${long.slice(1)}x`],
    [full.slice(1), long],
  ];
  // Alone as a key, and alone as a scope.
  const texts = [
    ..."b B b\u{a0} \u{200b}b b\u{200b} \u{feff}b % %25 _ * ? [b] ' '' \" \\ \\\\ \\0 \\x00 $1 :1 @p # ` .. . / // ~".split(" "),
    ..."null NULL undefined NaN true 0 00 +0 -0 0x0 1e0 1 1.0 e __proto__ constructor toString hasOwnProperty length".split(" "),
    ..."\u{e9} e\u{301} \u{c9} \u{df} ss SS \u{1e9e} \u{131} i I \u{130} \u{17f} s a \u{430} \u{ff41}".split(" "),
    ..."\u{3a9} \u{2126} \u{fb01} fi \u{1f600} \u{1f601} \u{10ffff} \u{fffd} \u{202e}b {b} {b}b".split(" "),
    ...["b ", " b", "b  ", "'; --"],
  ];
  const named = (slot: SlotKey, scope: string[], key: string): Named => [
    slot,
    `the key ${JSON.stringify(key.slice(0, 40))} in the scope ${JSON.stringify(scope.map((part) => part.slice(0, 40)))}`,
  ];
  return [
    ...pairs.map(([scope, key]) => named(slotKey(scope, key), scope, key)),
    ...texts.map((text) => named(name(text), ["tenant-7", "user-1"], text)),
    ...texts.map((text) => named(slotKey(["tenant-7", text], "user-1"), ["tenant-7", text], "user-1")),
  ];
}
