/** Everything of `idemp`, with a core that is yet to be handed over: see {@link initialize}. */
export { initialize } from "../core/initialize.js";
export { apply } from "../core/apply.js";
export { CanonicalError, type CanonicalErrorKind } from "../core/canonical.js";
export {
  canonicalize,
  fingerprintBytes,
  fingerprintJson,
  fingerprintOf,
  type Fingerprint,
} from "../core/fingerprint.js";
export { scopePrefix, slotKey, type Scope } from "../core/slot-key.js";
export type { Resolved } from "../core/machine.js";
export type { Decision, InProgress, Peeked, Replay } from "../decision.js";
export { IdempError, StoreError, type StoreErrorCode } from "../errors.js";
export type { EventHook, EventKind, EventOptions, EventStep, IdempEvent } from "../events/event.js";
export { createIdempotency, Idempotency, type IdempotencyOptions } from "../idempotency.js";
export { Lease, type Ended, type Renewed } from "../lease.js";
export type { PolicyOptions } from "../policy.js";
export type { Span } from "../span.js";
export type { Applied, NewSlot, Rev, Slot, SlotKey, Store, Swap, Swapped } from "../store.js";
export type { LeaseToken, Policy } from "../token.js";

export * from "../fetch/index.js";
export { fromCas, type CasBackend, type Found } from "../stores/from-cas.js";
export { fromLock, type LockBackend } from "../stores/from-lock.js";
export { indexedDbStore, type IndexedDbStore, type IndexedDbStoreOptions } from "../stores/indexeddb.js";
export {
  singleTabLocalStorage,
  type SingleTabLocalStorage,
  type SingleTabLocalStorageOptions,
} from "../stores/local-storage.js";
export { memoryStore, type MemoryStore, type MemoryStoreOptions } from "../stores/memory.js";
export { decodeSlot, encodeSlot } from "../stores/stored-slot.js";
