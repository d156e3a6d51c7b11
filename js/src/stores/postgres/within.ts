import type { Idempotency } from "../../idempotency.js";
import type { Store } from "../../store.js";

/**
 * The same idempotency, with its policy and its events, inside a transaction of the caller's: what is
 * begun and finished by it is committed with the transaction. See `PostgresStore.withTransaction`.
 *
 * Events tell what was asked; whether it is committed is seen by the caller alone.
 *
 * ```ts
 * const inside = within(idem, store.withTransaction(tx));
 * ```
 */
export function within(idem: Idempotency, transaction: Store): Idempotency {
  // A class that pages download is not to know of it.
  return Object.create(idem, { store: { value: transaction, enumerable: true } }) as Idempotency;
}
