import { StoreError } from "../errors.js";

/** What a backend answers; what it throws says that the outcome is unknown. */
export async function reached<T>(ask: () => T | Promise<T>): Promise<T> {
  try {
    return await ask();
  } catch (cause) {
    throw cause instanceof StoreError ? cause : new StoreError("STORE_UNAVAILABLE", { cause });
  }
}
