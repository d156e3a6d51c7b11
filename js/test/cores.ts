/** Every core that the package has, to be put in the place of the one in use. */
import assert from "node:assert/strict";
import { nativeCore } from "../src/core/crossing.js";
import { fastCore } from "../src/core/fast.js";
import { coreIn } from "../src/core/exported.js";
import { addonFor } from "../src/core/native.js";
import { unpacked } from "../src/core/packed.js";
import { core, useCore, type Core } from "../src/core/registry.js";
import { instantiated } from "../src/core/wasm.js";
import { packed } from "../src/generated/bytes.js";
import * as translated from "../src/generated/without-wasm.js";

const CORES: Readonly<Record<string, () => Core>> = {
  inline: () => instantiated(unpacked(packed)),
  server: fastCore,
  "without-wasm": () => coreIn(translated),
  native: () => nativeCore(addonFor("this test")),
};

export const CORE_NAMES = Object.keys(CORES);

/** From now on it is this one. */
export function use(name: string): void {
  const started = CORES[name]!();
  useCore(() => started);
  assert.equal(core(), started);
}
