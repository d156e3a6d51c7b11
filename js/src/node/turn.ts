/** Requests that are there at the same moment are taken on together. */
import timers from "node:timers";

/** The one of Node: tests put others in its place, which wait for the test. */
const { setImmediate } = timers;

/** At most so many. Each waits for what the handlers of the others do at once, and its lease lives
 *  meanwhile. */
const TOGETHER = 16;

let turn: Promise<void> | undefined;
let waiting = 0;

/**
 * Until what the network has brought by now was read. Who waits for the same turn goes on step by step
 * with the others, so that the processor does for all of them what it does for one: the rate of an
 * application is a third higher, with 16 connections and a store in memory.
 */
export function nextTurn(): Promise<void> {
  if (turn === undefined || waiting === TOGETHER) {
    waiting = 0;
    const begun = new Promise<void>((resolve) =>
      setImmediate(() => {
        if (turn === begun) turn = undefined;
        resolve();
      }),
    );
    turn = begun;
  }
  waiting++;
  return turn;
}
