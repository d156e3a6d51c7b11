import { IdempError } from "./errors.js";

/** `"24h"`, `"90s"`, `"500ms"`, `"7d"`, `"30m"`, or a whole number of milliseconds. */
export type Span = number | `${number}${"ms" | "s" | "m" | "h" | "d"}`;

/**
 * A span in milliseconds.
 *
 * @throws IdempError SPAN_INVALID for what is no positive whole number of milliseconds: nothing is
 * clamped.
 */
export function milliseconds(span: Span): number {
  const [, number, unit] = /^(\d+(?:\.\d+)?)(ms|s|m|h|d)$/.exec(String(span)) ?? [];
  const value = typeof span === "number" ? span : Number(number) * UNITS[unit as keyof typeof UNITS];
  if (Number.isSafeInteger(value) && value > 0) return value;
  throw new IdempError(
    "SPAN_INVALID",
    'a span is a positive whole number of milliseconds, or text such as "90s", "24h" or "7d"',
  );
}

const UNITS = { ms: 1, s: 1000, m: 60_000, h: 3_600_000, d: 86_400_000 };

/** The longest that timers wait, in milliseconds; with more they fire at once. */
export const LONGEST_TIMER = 2 ** 31 - 1;
