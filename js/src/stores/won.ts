import type { Applied } from "../store.js";

/** Whether there is something to write. */
export function won(applied: Applied): applied is Extract<Applied, { slot: unknown }> {
  return applied.swapped.won;
}
