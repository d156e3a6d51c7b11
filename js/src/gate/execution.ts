import type { Ended, Lease, Renewed } from "../lease.js";

/** The execution of a request with an idempotency key, for its handler. */
export class Execution {
  /** Whether the outcome was marked as unknown, and whether the store knows.
   *  @internal */
  mark: "none" | "asked" | "told" = "none";

  /** @internal */
  constructor(private readonly lease: Lease) {}

  /** The slot that it holds.
   *  @internal */
  get slot(): string {
    return this.lease.plain.slot;
  }

  /** Counts from 1; more means that an earlier attempt lapsed or failed, and may have done a part: see
   *  {@link published}. */
  get attempt(): number {
    return this.lease.attempt;
  }

  /** The fencing token for systems downstream, which refuse a number below the highest that they have
   *  seen. */
  get fence(): bigint {
    return this.lease.fence;
  }

  /** What an earlier attempt, or this one, published: a recovery point. */
  get published(): Uint8Array | undefined {
    return this.lease.published;
  }

  /** The lease as text. It is a capability, and holds the key: treat it like a secret. */
  get token(): string {
    return this.lease.token;
  }

  /** What is certainly left of the lease, in milliseconds, to be checked right before an irreversible
   *  effect. It is prolonged while the handler runs. */
  remaining(): number {
    return this.lease.remaining();
  }

  /**
   * Leaves interim state for duplicates and for the next attempt: bytes as they are, anything else as
   * JSON.
   *
   * @throws StoreError where it is not known whether it was left; TypeError where it has no JSON form.
   */
  async publish(state: unknown): Promise<Renewed> {
    if (state instanceof Uint8Array) return this.lease.publish(state);
    const text: string | undefined = JSON.stringify(state);
    if (text === undefined) throw new TypeError("what is published has no JSON form");
    return this.lease.publish(new TextEncoder().encode(text));
  }

  /**
   * It is not known what came of it: retries are told so until it is resolved, whatever the handler
   * answers. Where the store fails, it is told again when the handler is done.
   *
   * @throws StoreError where the store does not know yet.
   */
  async markUnknown(): Promise<Ended> {
    if (this.mark === "none") this.mark = "asked";
    const ended = await this.lease.abandon();
    if (ended.type === "ended") this.mark = "told";
    return ended;
  }
}
