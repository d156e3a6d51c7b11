import { StoreError } from "../errors.js";
import { LONGEST_TIMER } from "../span.js";

/**
 * What is answered within so many milliseconds. What comes later is dropped, and what was asked may
 * still happen: the outcome is unknown.
 *
 * @throws StoreError STORE_UNAVAILABLE where nothing came in time.
 */
export async function inTime<T>(limit: number, asked: Promise<T>): Promise<T> {
  let timer: ReturnType<typeof setTimeout> | undefined;
  const late = new Promise<never>((_, reject) => {
    const error = () => new StoreError("STORE_UNAVAILABLE", { advice: `it did not answer within ${limit} ms` });
    timer = setTimeout(() => reject(error()), Math.min(limit, LONGEST_TIMER));
  });
  try {
    return await Promise.race([asked, late]);
  } finally {
    clearTimeout(timer);
  }
}
