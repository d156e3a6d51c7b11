import type { Call, Machine } from "./core/machine.js";
import { StoreError } from "./errors.js";
import type { Store } from "./store.js";

/** What a store drives by itself, where it does: all of a call in one crossing. Only for a store that
 *  answers `swap` with what {@link DRIVE} would have done, and asks again as {@link drive} does. */
export const DRIVE = Symbol.for("idemp.drive");

export interface Driving extends Store {
  [DRIVE]<D>(call: Call<D>): D | Promise<D>;
}

/** What a machine says in the end; at once, where the store drives it at once. */
export function drive<D>(store: Store, machine: Machine<D>): D | Promise<D> {
  return DRIVE in store ? (store as Driving)[DRIVE](machine.call) : driven(store, machine);
}

/**
 * Puts a machine's questions to a store, until it is done. A question whose answer was lost is asked
 * once more: the machine recognises what the first one did.
 */
async function driven<D>(store: Store, machine: Machine<D>): Promise<D> {
  let step = machine.start();
  let again = true;
  while (!("done" in step)) {
    let reply;
    try {
      reply = store.swap(step.ask);
      if (isPromise(reply)) reply = await reply;
    } catch (error) {
      if (!again || !(error instanceof StoreError) || error.code !== "STORE_UNAVAILABLE") throw error;
      again = false;
      step = machine.start();
      continue;
    }
    step = machine.onReply(reply);
  }
  return step.done;
}

/** Whether it has to be awaited. Not `instanceof`: pages replace `Promise` (zone.js), and a test runner
 *  has one of its own. */
export function isPromise<T>(value: T | Promise<T>): value is Promise<T> {
  return !!(value as { then?: unknown } | undefined)?.then;
}
