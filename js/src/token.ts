/** A validated policy in the form of the Rust crate: spans in milliseconds. */
export interface Policy {
  readonly usage: "replay" | "while_active";
  readonly retention_ms: number;
  readonly lease_ms: number;
  readonly ceiling_ms: number;
  readonly tombstone_ms: number;
  readonly lapse: "takeover" | "fence";
}

/**
 * The exclusive right to execute, as plain data: its JSON is what `LeaseToken::to_text` writes in
 * Rust, so a worker in either language ends what the other began. It holds the raw key and is a
 * capability: treat it like a secret.
 */
export interface LeaseToken {
  readonly slot: string;
  readonly fingerprint: string;
  readonly policy: Policy;
  readonly owner: string;
  readonly rev: string;
  readonly attempt: number;
  /** A number of 64 bits, as text. */
  readonly fence: string;
  readonly granted_at: number;
  readonly lease_until: number;
  readonly seen_at: number;
}
