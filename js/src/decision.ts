import type { Lease } from "./lease.js";

/** What becomes of a request. Only a `miss` may execute. */
export type Decision<L = Lease> =
  /** Execute: the key is yours until the lease lapses. */
  | { readonly type: "miss"; readonly lease: L }
  /** It was done: this is the stored outcome, byte for byte. */
  | { readonly type: "hit"; readonly replay: Replay }
  /** The key was used with another payload. Nothing of what is stored is told. */
  | { readonly type: "conflict" }
  /** Somebody else is executing it. */
  | { readonly type: "in-progress"; readonly other: InProgress }
  /** It may have been executed, and the outcome is not stored: nothing executes until it is resolved. */
  | { readonly type: "unknown" }
  /** It was done, and its outcome is no longer kept. */
  | { readonly type: "expired" };

/** A stored outcome. */
export interface Replay {
  readonly outcome: Uint8Array;
  /** How long it will still be replayed, in milliseconds. */
  readonly remaining: number;
}

/** Somebody else's execution. */
export interface InProgress {
  /** What the owner published so far. */
  readonly published: Uint8Array | undefined;
  /** What is left of the owner's lease, in milliseconds. */
  readonly remaining: number;
}

/** What lies in a slot, for a page or an operator that wants to know, not to claim. */
export interface Peeked<L = Lease> {
  readonly state: "in-progress" | "completed" | "unstorable" | "released" | "unknown" | "expired";
  /** Whether the lease is live. */
  readonly live: boolean;
  /** What was published, or the outcome of a completed one. */
  readonly body: Uint8Array | undefined;
  /** Acts for the owner: see {@link Idempotency.peek}. */
  readonly lease: L;
}
