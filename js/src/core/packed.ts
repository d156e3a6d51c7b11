/** WebAssembly as text, as `packed` of build/machine.mjs writes it: bytes below 80, which are most of
 *  them, are a letter each; of the others a letter has the high half, and the next one the low half. */
export function unpacked(text: string): Uint8Array<ArrayBuffer> {
  const bytes = new Uint8Array(text.length);
  let length = 0;
  let high = 0;
  for (let at = 0; at < text.length; at++) {
    const code = text.charCodeAt(at);
    // From # on, without the backslash.
    const letter = code - (code > 92 ? 36 : 35);
    if (letter < 80) {
      bytes[length++] = high + letter;
      high = 0;
    } else {
      high = (letter - 75) * 16;
    }
  }
  return bytes.subarray(0, length);
}
