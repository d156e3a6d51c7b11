/** Chance that can be thrown again: a test prints its seed, and `IDEMP_SEED` gives it one. */
import { randomInt } from "node:crypto";

/** Numbers from 0 to below 1. */
export interface Dice {
  readonly seed: number;
  /** Any. */
  roll(): number;
  /** A whole number from 0 to below `sides`. */
  below(sides: number): number;
  /** True so often of 1. */
  chance(odds: number): boolean;
}

/** With the seed of `IDEMP_SEED`, or a new one. */
export function dice(seed = Number(process.env["IDEMP_SEED"] ?? randomInt(2 ** 31))): Dice {
  // mulberry32: 32 bits of state are plenty for what goes wrong in a test.
  let state = seed >>> 0;
  const roll = () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let bits = Math.imul(state ^ (state >>> 15), state | 1);
    bits ^= bits + Math.imul(bits ^ (bits >>> 7), bits | 61);
    return ((bits ^ (bits >>> 14)) >>> 0) / 2 ** 32;
  };
  return {
    seed,
    roll,
    below: (sides) => Math.floor(roll() * sides),
    chance: (odds) => roll() < odds,
  };
}

/** Whether the run is a long one. */
export const NIGHTLY = process.env["IDEMP_NIGHTLY"] === "1";
