/**
 * What a store is: one method, `swap`, and the eight laws that it keeps.
 *
 * A store compares something small, then puts, and hands back what defeated it. {@link apply} of
 * `idemp` is the definition: a store that can lock a slot, or has a transaction, calls it there.
 *
 * 1. `swap` is atomic for every other client.
 * 2. `won` if and only if the comparison held. Then the whole slot is replaced, durably, before the
 *    call returns.
 * 3. Where it lost nothing changed, and the slot that defeated it comes back, never one that is gone.
 * 4. Nothing is purged before `goneAt`, and a bound on size evicts nothing earlier: a full store
 *    throws.
 * 5. `head` and `body` come back byte for byte.
 * 6. An error means that the outcome is unknown: the write may have happened.
 * 7. Keys never alias.
 * 8. One trip to the store a call.
 */
export interface Store {
  /**
   * Puts, if the slot is as expected.
   *
   * @throws StoreError (or rejects) where the outcome is not known. Never for a swap that lost.
   */
  swap(swap: Swap): Swapped | Promise<Swapped>;
  /**
   * Removes every slot whose name begins with `prefix`, live ones too. Only for stores of one
   * person, such as a browser's: {@link Client.forgetAll} wants it.
   */
  forget?(prefix: SlotKey): void | Promise<void>;
  /** Lets go of what the store holds open. */
  close?(): void | Promise<void>;
}

/** The name of a slot, scope and key length-framed, in hex. */
export type SlotKey = string;

/** Names one state of a slot: 128 random bits in hex. */
export type Rev = string;

/** One question to a store: if the slot is as expected, replace it. */
export interface Swap {
  readonly slot: SlotKey;
  /** What has to lie there. A revision of zeros matches nothing: that asks only to read. */
  readonly expect: "vacant" | { readonly rev: Rev };
  /** What shall lie there. */
  readonly put: NewSlot | "remove";
}

/** A slot to be put: spans instead of deadlines, since the store's clock decides. */
export interface NewSlot {
  readonly rev: Rev;
  /** Milliseconds from now; zero ends the lease at once. */
  readonly leaseFor: number;
  /** Milliseconds from now. */
  readonly keepFor: number;
  /** Core's record: some 70 bytes, opaque. */
  readonly head: Uint8Array;
  /** The outcome or the interim state, opaque. */
  readonly body: Uint8Array;
}

/** What lies in a slot. A store interprets `rev`, `leaseUntil` and `goneAt`, nothing else. */
export interface Slot {
  readonly rev: Rev;
  /** Milliseconds since the Unix epoch, on the store's clock. */
  readonly leaseUntil: number;
  /** Milliseconds since the Unix epoch: the slot is there while `now < goneAt`. */
  readonly goneAt: number;
  readonly head: Uint8Array;
  readonly body: Uint8Array;
}

/** What a store answers. */
export type Swapped =
  | { readonly now: number; readonly won: true }
  | { readonly now: number; readonly won: false; readonly slot: Slot | undefined };

/** What {@link apply} answers: what to give back, and what to write where it won. */
export type Applied =
  | { readonly swapped: Swapped & { readonly won: true }; readonly slot: Slot | undefined }
  | { readonly swapped: Swapped & { readonly won: false } };
