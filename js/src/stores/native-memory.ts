import { fromHex, NOTHING } from "../core/bytes.js";
import { done, question, readSwapped, writeSwap } from "../core/crossing.js";
import type { Call } from "../core/machine.js";
import type { Addon, AddonClock, AddonMemory } from "../core/native.js";
import { DRIVE, type Driving } from "../driver.js";
import type { SlotKey, Swap, Swapped } from "../store.js";
import type { MemoryStore } from "./memory.js";

/** The memory store of the addon: a call is one crossing, and over when it returns. */
export function nativeMemory(addon: Addon, capacity: number, clock?: AddonClock): MemoryStore {
  return new NativeMemory(new addon.MemoryStore(capacity, clock), addon.driveInMemory);
}

class NativeMemory implements MemoryStore, Driving {
  readonly #store: AddonMemory;
  readonly #number: number;
  readonly #drive: Addon["driveInMemory"];

  constructor(store: AddonMemory, drive: Addon["driveInMemory"]) {
    this.#store = store;
    this.#number = store.number;
    this.#drive = drive;
  }

  [DRIVE]<D>(call: Call<D>): D {
    const out = call.write(question());
    const drive = this.#drive;
    return done(call, drive(this.#number, out.bytes, out.length, call.own, call.known));
  }

  swap(swap: Swap): Swapped {
    const out = question();
    const body = writeSwap(out, swap);
    return readSwapped(this.#store.swap(out.bytes, out.length, body));
  }

  forget(prefix: SlotKey): void {
    this.#store.forget(fromHex(prefix) ?? NOTHING);
  }

  get size(): number {
    return this.#store.size;
  }

  purge(): number {
    return this.#store.purge();
  }
}
