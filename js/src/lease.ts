import type { Replay } from "./decision.js";

/** The right to execute, with a deadline. */
export interface Lease {
  /** Counts from 1; more means that an earlier attempt lapsed or was released. */
  readonly attempt: number;
  /** The fencing token for systems downstream: it grows with every lease of the key. */
  readonly fence: bigint;
  /** What an earlier attempt, or this one, published. */
  readonly published: Uint8Array | undefined;
  /** The lease as text, for another process: see {@link LeaseToken}. */
  readonly token: string;
  /** Milliseconds until the lease lapses, on this machine's monotonic clock, less a margin. */
  remaining(): number;
  /** Stores the outcome; while-active policies vacate the slot. */
  finish(outcome: Uint8Array): Promise<Ended>;
  /** It was done, and its outcome cannot be stored: duplicates are told `unknown`. */
  finishUnstorable(): Promise<Ended>;
  /** What came of it is not known: duplicates are told `unknown` until it is resolved. */
  abandon(): Promise<Ended>;
  /** Prolongs the lease, up to its ceiling. */
  renew(): Promise<Renewed>;
  /** Leaves interim state for duplicates and for the next attempt. Prolongs, too. */
  publish(state: Uint8Array): Promise<Renewed>;
  /** Gives the slot back after a failure. The key stays bound to the payload. */
  release(): Promise<Ended>;
  /** Gives up the binding, too, since nothing was done. Honoured on a first attempt only. */
  forget(): Promise<Ended>;
}

/** `stale`: the lease is not this owner's any more, and nothing was changed. */
export type Ended =
  | { readonly type: "ended" }
  | { readonly type: "stale"; readonly winner: Replay | undefined };

export type Renewed =
  | { readonly type: "held" }
  | { readonly type: "ceiling" }
  | { readonly type: "stale"; readonly winner: Replay | undefined };
