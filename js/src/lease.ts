import type { Replay } from "./decision.js";
import { type LeaseReply, type Held, tokenIn, type Verb } from "./core/machine.js";
import { isPromise } from "./driver.js";
import { stopwatch, type Stopwatch } from "./stopwatch.js";
import type { LeaseToken } from "./token.js";

/** The right to execute, with a deadline. */
export class Lease {
  /** An end of it was asked for. Where that failed it may have happened all the same.
   *  @internal */
  ending = false;

  private read: LeaseToken | undefined;

  /** @internal */
  constructor(
    /** @internal */
    public held: Held,
    /** Since before the question that told of the lease.
     *  @internal */
    public asked: Stopwatch,
    private readonly say: (held: Held, verb: Verb) => LeaseReply | Promise<LeaseReply>,
  ) {}

  /** Counts from 1; more means that an earlier attempt lapsed or was released, and may have done a
   *  part: see {@link published}. */
  get attempt(): number {
    return this.plain.attempt;
  }

  /** The fencing token for systems downstream, which refuse a number below the highest that they
   *  have seen: it grows with every lease of the key. */
  get fence(): bigint {
    return BigInt(this.plain.fence);
  }

  /** What an earlier attempt, or this one, published. */
  get published(): Uint8Array | undefined {
    return this.held.published ?? undefined;
  }

  /** The lease as text, for another process: `Idempotency.resume` reads it, and so does
   *  `LeaseToken::from_text` in Rust. It holds the raw key and is a capability: treat it like a
   *  secret. */
  get token(): string {
    return JSON.stringify(this.plain);
  }

  /** Milliseconds until the lease lapses, counted on this machine from before the question was
   *  asked, by whichever of its clocks ran further, less a twentieth of the lease. Check it right
   *  before an irreversible effect. */
  remaining(): number {
    const { lease_until, seen_at, policy } = this.plain;
    const left = lease_until - seen_at - this.asked() - policy.lease_ms / 20;
    return Math.max(0, left);
  }

  /** Stores the outcome and starts the retention; under a while-active policy, vacates the slot.
   *  May be repeated after an error. */
  finish(outcome: Uint8Array): Promise<Ended> {
    return this.end({ verb: "finish", body: outcome });
  }

  /** It was done, and its outcome cannot be stored: duplicates are told `unknown`. */
  finishUnstorable(): Promise<Ended> {
    return this.end({ verb: "unstorable" });
  }

  /** What came of it is not known: duplicates are told `unknown` until it is resolved. */
  abandon(): Promise<Ended> {
    return this.end({ verb: "fence" });
  }

  /** Prolongs the lease, up to its ceiling. */
  renew(): Promise<Renewed> {
    return this.goOn({ verb: "renew" });
  }

  /** Leaves interim state for duplicates and for the next attempt. Prolongs like `renew`. */
  publish(state: Uint8Array): Promise<Renewed> {
    return this.goOn({ verb: "publish", body: state });
  }

  /** Gives the slot back after a failure. The key stays bound to the payload. */
  release(): Promise<Ended> {
    return this.end({ verb: "release" });
  }

  /** Gives up the binding, too, since nothing was done. A first attempt only: a later one
   *  releases, since an earlier one may have executed. */
  forget(): Promise<Ended> {
    return this.end({ verb: "forget" });
  }

  /** Read when it is asked for: most leases only end.
   *  @internal */
  get plain(): LeaseToken {
    return (this.read ??= tokenIn(this.held));
  }

  private async end(verb: Verb): Promise<Ended> {
    return this.conclude(verb);
  }

  /** Ends it: at once, where the store answers at once.
   *  @internal */
  conclude(verb: Verb): Ended | Promise<Ended> {
    this.ending = true;
    const said = this.say(this.held, verb);
    return isPromise(said) ? said.then(ended) : ended(said);
  }

  private async goOn(verb: Verb): Promise<Renewed> {
    const asked = stopwatch();
    const reply = await this.say(this.held, verb);
    if (reply.type === "stale") return reply;
    if (reply.type !== "held") return { type: "ceiling" };
    // A renewal and a publication may overtake each other on the way back.
    const read = tokenIn(reply.held);
    if (read.seen_at >= this.plain.seen_at) {
      this.held = reply.held;
      this.read = read;
      this.asked = asked;
    }
    return { type: "held" };
  }
}

function ended(reply: LeaseReply): Ended {
  return reply.type === "stale" ? reply : { type: "ended" };
}

/** `stale`: the lease is not this owner's any more, and nothing was changed. */
export type Ended =
  | { readonly type: "ended" }
  | { readonly type: "stale"; readonly winner: Replay | undefined };

export type Renewed =
  | { readonly type: "held" }
  | { readonly type: "ceiling" }
  | { readonly type: "stale"; readonly winner: Replay | undefined };
