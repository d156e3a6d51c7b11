import type { Decision, Peeked } from "./decision.js";
import type { Lease } from "./lease.js";
import type { Store } from "./store.js";

/** `"24h"`, `"90s"`, `"500ms"`, `"7d"`, `"30m"`, or a number of milliseconds. */
export type Span = number | `${number}${"ms" | "s" | "m" | "h" | "d"}`;

/** How a key is used; what is left out has core's default. */
export interface PolicyOptions {
  /** `"replay"` keeps the outcome; `"while-active"` holds the key until the work ends. */
  usage?: "replay" | "while-active";
  /** How long an outcome is replayed, or the work may be active; 24 h. */
  retention?: Span;
  /** How long a lease lives without renewal; 60 s, or all of `retention` while active. */
  lease?: Span;
  /** How long a lease may live with all its renewals; an hour, or all of `retention` while active. */
  ceiling?: Span;
  /** How long after the retention a key is known as expired; not at all. */
  tombstone?: Span;
  /** What a lapse means: the next request takes over, or the outcome is unknown. */
  onLapse?: "takeover" | "fence";
}

/** Who and what a key belongs to: 1 to 8 parts of 1 to 255 bytes. */
export type Scope = readonly string[];

/** A fingerprint in hex, version first. Made by {@link fingerprint} and its kin. */
export type Fingerprint = string & { readonly fingerprint: unique symbol };

export interface IdempotencyOptions extends PolicyOptions {
  store: Store;
}

export interface Idempotency {
  readonly store: Store;
  begin(scope: Scope, key: string, fingerprint: Fingerprint, policy?: PolicyOptions): Promise<Decision>;
  /** What lies there, without a claim; `undefined` where nothing does. Its lease acts for the
   *  owner, under `policy`: only for who may end other people's work. */
  peek(scope: Scope, key: string, policy?: PolicyOptions): Promise<Peeked | undefined>;
  /** The lease of a token that came as text. */
  resume(token: string, policy?: PolicyOptions): Lease;
}
