import type { Fingerprint } from "./core/fingerprint.js";
import * as machine from "./core/machine.js";
import { slotName, type Scope } from "./core/slot-key.js";
import type { Decision, Peeked } from "./decision.js";
import { drive, isPromise } from "./driver.js";
import type { EventOptions } from "./events/event.js";
import type { Asked } from "./events/watch.js";
import { Lease } from "./lease.js";
import { policyOf, type PolicyOptions } from "./policy.js";
import { stopwatch, type Stopwatch } from "./stopwatch.js";
import type { Store } from "./store.js";

export interface IdempotencyOptions extends PolicyOptions, EventOptions {
  readonly store: Store;
}

/** What decides, and no more: all that the client of a page loads. */
export class Deciding {
  readonly store: Store;
  private readonly policies = new Map<PolicyOptions, machine.CheckedPolicy>();

  /** @internal */
  constructor(
    protected readonly options: IdempotencyOptions,
  ) {
    this.store = options.store;
    this.checked(options);
  }

  /**
   * Asks whether to execute.
   *
   * @throws StoreError where the outcome is unknown: do not execute. Another `IdempError`
   * where the record cannot be read (RECORD_CORRUPT, RECORD_NEWER: it blocks), or the scope or key
   * breaks its format (KEY_INVALID).
   */
  async begin(
    scope: Scope,
    key: string,
    fingerprint: Fingerprint,
    policy: PolicyOptions = this.options,
  ): Promise<Decision> {
    return this.decide(scope, key, fingerprint, policy);
  }

  /** What {@link begin} gives, or throws: at once, where the store answers at once.
   *  @internal */
  decide(
    scope: Scope,
    key: string,
    fingerprint: Fingerprint,
    policy: PolicyOptions = this.options,
  ): Decision | Promise<Decision> {
    const asked = stopwatch();
    const call = machine.begin(slotName(scope, key), fingerprint, this.checked(policy));
    const asking = this.ask("begin", call);
    const leased = (decision: Decision<machine.Held>): Decision =>
      decision.type === "miss"
        ? { type: "miss", lease: this.lease(decision.lease, asked) }
        : decision;
    return isPromise(asking) ? asking.then(leased) : leased(asking);
  }

  /**
   * What lies there, without a claim; `undefined` where nothing does. Its lease acts for the owner,
   * under `policy`: so it is for whoever may end the owner's work, and no answer to a stranger.
   *
   * @throws as {@link begin}.
   */
  async peek(
    scope: Scope,
    key: string,
    policy: PolicyOptions = this.options,
  ): Promise<Peeked | undefined> {
    const asked = stopwatch();
    const call = machine.peek(slotName(scope, key), this.checked(policy));
    const seen = await drive(this.store, call);
    return seen && { ...seen, lease: this.lease(seen.lease, asked) };
  }

  /** The same lease under another policy. Nothing is known of what was published.
   *  @internal */
  under({ held }: Lease, policy: PolicyOptions): Lease {
    return this.resumed(machine.under(held, this.checked(policy)));
  }

  /** @internal */
  protected resumed(held: machine.Held): Lease {
    // What was left is counted from its granting, on a clock that is not here: so nothing is.
    return this.lease(held, () => Infinity);
  }

  private lease(held: machine.Held, asked: Stopwatch): Lease {
    return new Lease(held, asked, (held, verb) => this.ask(verb, machine.say(held, verb), held));
  }

  /** Drives a call; `held` is the lease that it is about, where there is one.
   *  @internal */
  protected ask<D>(_asked: Asked, call: machine.Machine<D>, _held?: machine.Held): D | Promise<D> {
    return drive(this.store, call);
  }

  protected checked(options: PolicyOptions): machine.CheckedPolicy {
    let policy = this.policies.get(options);
    if (!policy) {
      policy = policyOf(options);
      // Options that are written out at each call are not to pile up.
      if (this.policies.size < 16) this.policies.set(options, policy);
    }
    return policy;
  }
}
