/** The core in an instance of WebAssembly, or in what it was translated to. */
import type { Core } from "./registry.js";

/** What bindings-wasm exports. */
export interface Exported {
  readonly memory: { readonly buffer: ArrayBuffer };
  /** Where a question of so many bytes is to be written. */
  room(length: number): number;
  /** Answers it, and returns how long the answer is. */
  call(question: number): number;
  /** Where the answer lies. */
  place(): number;
}

export function coreIn({ memory, room, call, place }: Exported): Core {
  // Places are unsigned, and views are made anew: a memory that grows is another buffer.
  return (question, bytes) => {
    const at = room(bytes.length) >>> 0;
    new Uint8Array(memory.buffer).set(bytes, at);
    const length = call(question) >>> 0;
    return new Uint8Array(memory.buffer, place() >>> 0, length).slice();
  };
}
