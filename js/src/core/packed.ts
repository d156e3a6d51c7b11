/** WebAssembly as text, as `packed` of build/machine.mjs writes it: the commonest bytes are a letter
 *  each, the others two. */
import { NOTHING, fromHex } from "./bytes.js";

export interface Packed {
  readonly text: string;
  /** The bytes by how common they are, in hex. */
  readonly order: string;
}

export function unpacked({ text, order }: Packed): Uint8Array<ArrayBuffer> {
  const ranked = fromHex(order) ?? NOTHING;
  const bytes = new Uint8Array(text.length);
  let length = 0;
  for (let at = 0, more = 0; at < text.length; at++) {
    const code = text.charCodeAt(at);
    // From # on, without the backslash.
    const letter = code - (code > 92 ? 36 : 35);
    const place = more ? SINGLE + (more - 1) * LETTERS + letter : letter;
    more = more || letter < SINGLE ? 0 : letter - SINGLE + 1;
    if (!more) bytes[length++] = ranked[place]!;
  }
  return bytes.subarray(0, length);
}

const LETTERS = 91;
const SINGLE = LETTERS - 2;
