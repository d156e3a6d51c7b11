import { NOTHING } from "../core/bytes.js";

/**
 * Bytes that come in pieces. Many small ones take no more room than one large one; a single one is not
 * copied, so what may still be written to is handed over as a copy.
 */
export class Pieces {
  length = 0;
  #room: Uint8Array = NOTHING;

  push(piece: Uint8Array): void {
    const at = this.length;
    this.length += piece.length;
    if (at === 0) {
      this.#room = piece;
      return;
    }
    // The first one is somebody else's, and has no room behind it: so it is left alone here.
    if (this.length > this.#room.length || this.#room.length === at) {
      const longer = new Uint8Array(2 * this.length);
      longer.set(this.#room.subarray(0, at));
      this.#room = longer;
    }
    this.#room.set(piece, at);
  }

  bytes(): Uint8Array {
    return this.#room.subarray(0, this.length);
  }
}
