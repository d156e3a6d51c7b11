import { IdempError } from "../errors.js";
import { In } from "./bytes.js";
import { core } from "./registry.js";

/** The functions of the core, by the numbers that `wire::call` knows them by. */
export const NAME = 1;
export const POLICY = 2;
export const START = 3;
export const ON_REPLY = 4;
export const APPLY = 5;
export const FINGERPRINT_JSON = 6;
export const FINGERPRINT_BYTES = 7;
export const PREIMAGE_JSON = 8;
export const CANONICALIZE = 9;

/** Makes an error of a refusal that only some questions meet: a page need not load all of them. */
export type Refusing = (code: number, detail: number) => IdempError | undefined;

/**
 * Asks the core.
 *
 * @throws IdempError where it refuses.
 */
export function ask(question: number, bytes: Uint8Array, refusing?: Refusing): Uint8Array {
  return answered(core()(question, bytes), refusing);
}

/** What the core says. @throws IdempError where it refuses. */
export function answered(answer: Uint8Array, refusing?: Refusing): Uint8Array {
  if (answer[0] === 1) return answer.subarray(1);
  const from = new In(answer);
  from.byte();
  const [code, detail] = [from.byte(), from.number()];
  throw refusing?.(code, detail) ?? refused(code, detail);
}

function refused(code: number, detail: number): IdempError {
  const [name, message] = REFUSALS[code] ?? ["MALFORMED", "what was handed to the core is malformed"];
  return new IdempError(name, message.replace("$", () => SPANS[detail] ?? String(detail)));
}

/** The detail of a policy's refusal is the first letter of the span. */
const SPANS: Record<number, string> = { 114: "retention", 108: "lease", 99: "ceiling", 116: "tombstone" };

const REFUSALS: Record<number, [string, string]> = {
  1: ["KEY_INVALID", "a key and every part of a scope need at least one byte"],
  2: ["KEY_INVALID", "a key or a part of a scope is longer than 255 bytes"],
  3: ["KEY_INVALID", "a key or a part of a scope holds a control character"],
  4: ["KEY_INVALID", "a scope has at most 8 parts"],
  5: ["KEY_INVALID", "these bytes do not name a slot"],
  16: ["POLICY_INVALID", "the $ has to be at least 1 ms"],
  17: ["POLICY_INVALID", "the $ has to be at most 100 years"],
  18: ["POLICY_INVALID", "the lease is longer than the retention; shorten it with `lease`"],
  19: ["POLICY_INVALID", "a lapse can only fence where the lease is shorter than the retention"],
  20: ["POLICY_INVALID", "the ceiling is shorter than the lease"],
  21: ["POLICY_INVALID", "a key that is held while active leaves no tombstone"],
  32: ["RECORD_CORRUPT", "the stored record is corrupt; nothing was executed"],
  33: ["RECORD_NEWER", "the stored record has version $, which this build does not read; update it"],
  34: ["CONTENDED", "the slot kept changing; whether the write happened is unknown, ask again"],
};
