import { LONGEST_TIMER } from "../span.js";

/** It did not end in time. */
export const LATE = Symbol("late");

/** Gives the promise so many milliseconds. One that is late goes on, and an error of it is nobody's. */
export function within<T>(span: number, promise: Promise<T>): Promise<T | typeof LATE> {
  return new Promise((resolve, reject) => {
    let ended = false;
    let timer: ReturnType<typeof setTimeout> | undefined;
    promise.then(
      (value) => {
        ended = true;
        clearTimeout(timer);
        resolve(value);
      },
      (error: unknown) => {
        ended = true;
        clearTimeout(timer);
        reject(error);
      },
    );
    // A store in this process has answered by now, and a timer costs more than its answer.
    void soon().then(() => {
      if (!ended) timer = setTimeout(resolve, Math.min(span, LONGEST_TIMER), LATE);
    });
  });
}

/** A few turns of the queue of promises later. */
async function soon(): Promise<void> {
  for (let turn = 0; turn < 4; turn++) await undefined;
}

export function sleep(span: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, span));
}
