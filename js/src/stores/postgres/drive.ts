import { machine, systemEntropy, type Call } from "../../core/machine.js";
import { In, Out } from "../../core/bytes.js";
import { StoreError } from "../../errors.js";
import type { Swap, Swapped } from "../../store.js";
import { isBusy } from "./fault.js";

/** Of the calls, as the core numbers them. */
const BEGIN = 1;

/** What a `begin` is told of an execution of which nothing is known: in progress, with nothing left of
 *  its lease and nothing published. */
const IN_PROGRESS = Uint8Array.of(4, 0, 0, 0, 0, 0, 0, 0, 0, 0);

/**
 * Puts a call's questions to a store, as the driver does, and one thing more: a `begin` whose record is
 * held by a transaction that has not ended is in progress. To an owner that is an error.
 *
 * @param again whether a question whose answer was lost is asked once more. A transaction that failed
 * answers nothing more.
 */
export async function drive<D>(call: Call<D>, swap: (swap: Swap) => Promise<Swapped>, again: boolean): Promise<D> {
  const said = new In(call.write(new Out()).done());
  const begins = said.byte() === BEGIN;
  const slot = said.framed();
  const asking = machine((out) => out.framed(slot), systemEntropy, call);
  let asks = again ? 2 : 1;
  for (let step = asking.start(); ; ) {
    if ("done" in step) return step.done;
    try {
      step = asking.onReply(await swap(step.ask));
    } catch (error) {
      if (isBusy(error) && begins) return call.done(new In(IN_PROGRESS), call);
      if (isBusy(error) || !(error instanceof StoreError) || error.code !== "STORE_UNAVAILABLE" || --asks === 0) throw error;
      step = asking.start();
    }
  }
}
