/** Law 5: bytes. */

import type { NewSlot, Slot, Swap } from "../../store.js";
import { difference, told, verdict } from "../words.js";
import { DAY, HOUR, type World, broken, ensure, name, newSlot } from "../world.js";
import { codeOf, showsNoSecret } from "./errors.js";

const MIB = 1024 * 1024;

export async function bytesComeBack(world: World): Promise<void> {
  const limit = world.limits.bodyBytes ?? MIB;
  const slot = name("bytes");
  for (const [number, { head, body }] of allBytes(limit).entries()) {
    const put = { ...newSlot(HOUR, HOUR), head, body };
    // `lay` hands back what a read found; what went in is kept here.
    const there = await world.lay(slot, "vacant", put);
    const differs = difference({ ...there, head, body }, there);
    if (differs) broken(`case ${number}, a head of ${head.length} and a body of ${body.length} bytes: ${differs}`);
    await world.ask({ slot, expect: { rev: put.rev }, put: "remove" });
  }
  await tooMany(world);
}

function allBytes(limit: number): { head: Uint8Array; body: Uint8Array }[] {
  const every = Uint8Array.from({ length: 256 }, (_, byte) => byte);
  const text = (text: string) => new TextEncoder().encode(text);
  const long = (length: number) => Uint8Array.from({ length }, (_, n) => n * 31 + Math.floor(n / 251));
  const heads = [
    new Uint8Array(),
    Uint8Array.of(0),
    new Uint8Array(111),
    Uint8Array.of(0xff, 0, 0xff, 0x27, 0x22, 0x5c),
    every.slice(0, 111),
    // Parts of something larger.
    every.subarray(145),
  ];
  const bodies = [
    new Uint8Array(),
    Uint8Array.of(0),
    text("0"),
    text("\\x00\\000'\"\r\n\t "),
    Uint8Array.of(0xff, 0xfe, 0, 0x80, 0xc3, 0x28, 0xed, 0xa0, 0x80),
    text("null"),
    text("undefined"),
    every,
    every.subarray(3, 20),
    new Uint8Array(Math.min(70_000, limit)),
    long(511),
    long(4_096),
    long(Math.min(65_535, limit)),
    long(Math.min(65_536, limit)),
    new Uint8Array(limit),
    long(limit),
  ];
  // Every body meets two heads, every head some bodies.
  return Array.from({ length: 2 * bodies.length }, (_, n) => ({
    head: heads[(n + Math.floor(n / bodies.length)) % heads.length] as Uint8Array,
    body: bodies[n % bodies.length] as Uint8Array,
  }));
}

/** What is too much is refused, and leaves no trace. */
async function tooMany(world: World) {
  const limit = world.limits.bodyBytes;
  if (limit === undefined) return;
  const slot = name("too many bytes");
  const before = await world.lay(slot, "vacant", newSlot(HOUR, HOUR));
  const put = { ...newSlot(HOUR, HOUR), body: new Uint8Array(limit + 1).fill(7) };
  const swap: Swap = { slot, expect: { rev: before.rev }, put };
  const outcome = await world.tryAsk(swap);
  if (!("error" in outcome)) broken(`${told(swap)} is over the store's limit, and was answered ${verdict(outcome.swapped)}`);
  showsNoSecret(outcome.error);
  ensure(!["STORE_UNAVAILABLE", "STORE_FULL"].includes(codeOf(outcome.error) ?? ""), () =>
    `${told(swap)} is over the store's limit, and the error says that asking again may help: ${outcome.error}`);
  const after = difference(before, (await world.look(slot)).slot);
  if (after) broken(`${told(swap)} was refused, and changed the slot: ${after}`);
}

/**
 * The caller's arrays are the caller's, before and after: neither what was put nor what came back is
 * the store's own memory.
 */
export async function nothingIsShared(world: World): Promise<void> {
  const slot = name("shared with nobody");
  let expect: Swap["expect"] = "vacant";
  for (const [how, bytes] of ARRAYS) {
    const put: NewSlot = { ...newSlot(HOUR, DAY), head: bytes(20), body: bytes(2_000) };
    const there: Slot = await layThenScribble(world, { slot, expect, put });
    const is = async (when: string) => {
      const { slot: now } = await world.look(slot);
      const differs = difference(there, now);
      if (differs) broken(`${when} (${how}), and what lies there changed with it: ${differs}`);
      return now as Slot;
    };
    scribble(await is("the arrays that were put were overwritten afterwards"));
    scribble(await is("the arrays of an answer were overwritten"));
    const lost = await world.ask({ slot, expect: "vacant", put: newSlot(HOUR, DAY) });
    if (lost.won || lost.slot === undefined) broken("a claim of a slot that is taken won");
    scribble(lost.slot);
    await is("the arrays of a swap that lost were overwritten");
    expect = { rev: put.rev };
  }
}

/** What has to lie there, though the arrays are overwritten by now. */
async function layThenScribble(world: World, swap: Swap & { put: NewSlot }): Promise<Slot> {
  const answer = await world.ask(swap);
  ensure(answer.won, () => `${told(swap)} was answered ${verdict(answer)}`);
  const { rev, head, body } = swap.put;
  const [leaseUntil, goneAt] = [answer.now + HOUR, answer.now + DAY];
  const there = { rev, leaseUntil, goneAt, head: new Uint8Array(head), body: new Uint8Array(body) };
  scribble(swap.put);
  return there;
}

function scribble({ head, body }: { head: Uint8Array; body: Uint8Array }) {
  for (const bytes of [head, body]) bytes.fill(0xaa);
}

/** Like Node's `Buffer`, whose `slice` copies nothing. */
class Lent extends Uint8Array {
  override slice(from?: number, to?: number) {
    return this.subarray(from, to) as Uint8Array<ArrayBuffer>;
  }
}

const ARRAYS: [how: string, bytes: (length: number) => Uint8Array][] = [
  ["plain ones", (length) => new Uint8Array(length).fill(5)],
  ["parts of a larger buffer", (length) => new Uint8Array(length + 100).fill(6).subarray(40, 40 + length)],
  ["ones like Node's Buffer", (length) => new Lent(length).fill(7)],
];
