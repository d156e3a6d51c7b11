import type { Machine } from "./core/machine.js";
import { StoreError } from "./errors.js";
import type { Store } from "./store.js";

/**
 * Puts a machine's questions to a store, until it is done. A question whose answer was lost is asked
 * once more: the machine recognises what the first one did.
 */
export async function drive<D>(store: Store, machine: Machine<D>): Promise<D> {
  let step = machine.start();
  let again = true;
  while (!("done" in step)) {
    let reply;
    try {
      reply = store.swap(step.ask);
      // Not `instanceof`: pages replace `Promise` (zone.js), and a test runner has one of its own.
      if ("then" in reply) reply = await reply;
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
