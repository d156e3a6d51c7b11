/** The core from bytes that are in this script: nothing to load, nothing to await. */
import { order, text } from "../generated/bytes.js";
import { NOTHING, fromHex } from "./bytes.js";
import { offerCore } from "./registry.js";
import { instantiated } from "./wasm.js";

offerCore(() => instantiated(unpacked(text, fromHex(order) ?? NOTHING)));

/** What `packed` of build/machine.mjs wrote: the commonest bytes are a letter each, the others two. */
function unpacked(text: string, order: Uint8Array): Uint8Array<ArrayBuffer> {
  const bytes = new Uint8Array(text.length);
  let length = 0;
  for (let at = 0, more = 0; at < text.length; at++) {
    const code = text.charCodeAt(at);
    // From # on, without the backslash.
    const letter = code - (code > 92 ? 36 : 35);
    const place = more ? SINGLE + (more - 1) * LETTERS + letter : letter;
    more = more || letter < SINGLE ? 0 : letter - SINGLE + 1;
    if (!more) bytes[length++] = order[place]!;
  }
  return bytes.subarray(0, length);
}

const LETTERS = 91;
const SINGLE = LETTERS - 2;
