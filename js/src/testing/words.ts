/** What was asked and seen, in words. No name of a slot and no bytes. */

import type { Rev, Slot, Swap, Swapped } from "../store.js";
import { NIL } from "./world.js";

export function told({ expect, put }: Swap): string {
  let where = "where nothing lies";
  if (expect !== "vacant") where = expect.rev === NIL ? "where the nil revision lies" : `where ${short(expect.rev)} lies`;
  if (put === "remove") return expect !== "vacant" && expect.rev === NIL ? "a read" : `remove, ${where}`;
  const { rev, leaseFor, keepFor, head, body } = put;
  return `put ${short(rev)} (lease ${leaseFor} ms, kept ${keepFor} ms, head of ${head.length}, body of ${body.length} bytes), ${where}`;
}

export function verdict(swapped: Swapped): string {
  if (swapped.won) return "`won`";
  return swapped.slot === undefined ? "`lost`, with nothing that defeated it" : `\`lost\` to ${lying(swapped.slot)}`;
}

export function lying(slot: Slot | undefined): string {
  if (slot === undefined) return "nothing";
  return `${short(slot.rev)} (lease until ${slot.leaseUntil}, gone at ${slot.goneAt}, head of ${slot.head?.length}, body of ${slot.body?.length} bytes)`;
}

function short(rev: Rev): string {
  return `rev ${String(rev).slice(0, 4)}...`;
}

/** How a slot differs from the one that ought to lie there; `undefined` where it does not. */
export function difference(expected: Slot | undefined, seen: Slot | undefined): string | undefined {
  if (expected === undefined || seen === undefined) {
    return expected === seen ? undefined : `expected ${lying(expected)}, found ${lying(seen)}`;
  }
  const parts: string[] = [];
  for (const what of ["rev", "leaseUntil", "goneAt"] as const) {
    if (expected[what] !== seen[what]) parts.push(`another \`${what}\``);
  }
  for (const what of ["head", "body"] as const) {
    const [put, came] = [expected[what], seen[what]];
    if (!(came instanceof Uint8Array)) {
      parts.push(`a ${what} that is no Uint8Array`);
    } else if (put.length !== came.length || put.some((byte, at) => byte !== came[at])) {
      const at = put.findIndex((byte, at) => byte !== came[at]);
      parts.push(`the ${what} differs from byte ${at < 0 ? put.length : at} on (${put.length} bytes went in, ${came.length} came back)`);
    }
  }
  return parts.length === 0 ? undefined : `expected ${lying(expected)}, found ${lying(seen)}: ${parts.join("; ")}`;
}
