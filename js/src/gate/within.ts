import { LONGEST_TIMER } from "../span.js";

/** It did not end in time. */
export const LATE = Symbol("late");

/** Gives the promise so many milliseconds. One that is late goes on, and an error of it is nobody's. */
export function within<T>(span: number, promise: Promise<T>): Promise<T | typeof LATE> {
  return new Promise((resolve, reject) => {
    const timer = setTimeout(resolve, Math.min(span, LONGEST_TIMER), LATE);
    promise.then(
      (value) => {
        clearTimeout(timer);
        resolve(value);
      },
      (error: unknown) => {
        clearTimeout(timer);
        reject(error);
      },
    );
  });
}

export function sleep(span: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, span));
}
