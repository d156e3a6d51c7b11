import type { Applied, Slot, Swap } from "../store.js";

/** What the Rust core answers. The entry of the package that is loaded says which build of it. */
export interface Core {
  apply(slot: Slot | undefined, swap: Swap, now: number): Applied;
}

let current: Core | undefined;

/** Takes this core from now on. */
export function useCore(core: Core): void {
  current = core;
}

/** The core in use. */
export function core(): Core {
  if (current === undefined) {
    throw new Error("idemp is not initialised: await initialize() first, or import a full entry");
  }
  return current;
}

/**
 * The definition of `swap`, decided by the Rust core: what to answer, and what lies in the slot
 * afterwards. Pure; call it where nobody else can change the slot.
 */
export function apply(slot: Slot | undefined, swap: Swap, now: number): Applied {
  return core().apply(slot, swap, now);
}
