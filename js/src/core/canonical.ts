import { IdempError } from "../errors.js";

/** A text has no canonical form. The message holds nothing of the text. */
export class CanonicalError extends IdempError {
  override name = "CanonicalError";

  constructor(
    readonly kind: CanonicalErrorKind,
    /** Where, in bytes from the start of the text in UTF-8. */
    readonly offset: number,
  ) {
    super("NOT_CANONICAL", `the text has no canonical form: ${kind} at byte ${offset}`);
  }
}

const KINDS = [
  "syntax",
  "eof",
  "trailing",
  "duplicate",
  "lone-surrogate",
  "utf8",
  "depth",
  "number-range",
  "inexact-integer",
  "too-long",
] as const;

export type CanonicalErrorKind = (typeof KINDS)[number];

/** What the core refuses where a text has no canonical form. */
export function canonicalError(code: number, detail: number): CanonicalError | undefined {
  const kind = KINDS[code - 64];
  return kind && new CanonicalError(kind, detail);
}
