/** A page that runs a core through the vectors and through random operations. The test chooses the
 *  core by the entry that it bundles. */
import { operate } from "../../js/test/random-operations.js";
import { runVectors, type Vectors } from "../../js/test/vectors.js";

export interface CorePage {
  vectors(): Promise<Record<string, number>>;
  /** The SHA-256 of all answers. */
  operations(count: number, seed: number): Promise<string>;
}

const page: CorePage = {
  async vectors() {
    return runVectors((await (await fetch("/vectors.json")).json()) as Vectors);
  },
  async operations(count, seed) {
    const answers: Uint8Array<ArrayBuffer>[] = [];
    operate(count, seed, (_question, _bytes, answer) => answers.push(Uint8Array.from(answer)));
    const all = await new Blob(answers).arrayBuffer();
    const digest = new Uint8Array(await crypto.subtle.digest("SHA-256", all));
    return Array.from(digest, (byte) => byte.toString(16).padStart(2, "0")).join("");
  },
};

Object.assign(globalThis, { corePage: page });
