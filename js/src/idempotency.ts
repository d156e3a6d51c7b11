import { fingerprintOf } from "./core/fingerprint.js";
import * as machine from "./core/machine.js";
import { core } from "./core/registry.js";
import { checkedName, slotName, type Scope } from "./core/slot-key.js";
import { Deciding, type IdempotencyOptions } from "./deciding.js";
import { IdempError } from "./errors.js";
import { watching, type Asked, type Watch } from "./events/watch.js";
import { keptAlive } from "./keep-alive.js";
import type { Lease } from "./lease.js";
import type { PolicyOptions } from "./policy.js";
import type { LeaseToken, Policy } from "./token.js";

export type { IdempotencyOptions } from "./deciding.js";

/**
 * Decides what becomes of a request.
 *
 * ```ts
 * const idem = createIdempotency({ store: memoryStore(), retention: "24h" });
 * const decision = await idem.begin(["user-1"], "final-1769660861", fingerprintOf(order));
 * if (decision.type === "miss") {
 *   const task = await create(order);
 *   await decision.lease.finish(new TextEncoder().encode(JSON.stringify(task)));
 * }
 * ```
 *
 * @throws IdempError POLICY_INVALID, SPAN_INVALID or OPTION_INVALID where the options make no sense.
 */
export function createIdempotency(options: IdempotencyOptions): Idempotency {
  return new Idempotency(options, watching(options));
}

/** Made by {@link createIdempotency}. */
export class Idempotency extends Deciding {
  /** @internal */
  constructor(
    options: IdempotencyOptions,
    private readonly watch?: Watch,
  ) {
    super(options);
  }

  /**
   * The lease of a token: another process, or another language, handed it on. Its verbs go by
   * `policy`, where one is given, from now on.
   *
   * @throws IdempError TOKEN_INVALID where the text is no token.
   */
  resume(token: string, policy?: PolicyOptions): Lease {
    return this.resumed(machine.heldOf(readToken(token), policy && this.checked(policy)));
  }

  /**
   * Settles an outcome that is unknown: with the outcome, or, without one, by making the key free.
   *
   * @throws as {@link begin}.
   */
  async resolve(
    scope: Scope,
    key: string,
    outcome?: Uint8Array,
    policy: PolicyOptions = this.options,
  ): Promise<machine.Resolved> {
    return this.ask("resolve", machine.resolve(slotName(scope, key), outcome, this.checked(policy)));
  }

  /**
   * The whole of it: executes `work` once, and replays what it returned, through JSON.
   *
   * Its lease is kept alive while the work runs. If the work throws the key is released, and the
   * same payload may try again; but not if it ended the lease itself, or tried to. A value that the
   * store fails to take is returned all the same; until the lease lapses nothing is executed again.
   *
   * For whatever may be called twice, such as a consumer of a queue that delivers at least once:
   *
   * ```ts
   * queue.on("message", async ({ id, body }) => {
   *   await idem.run(["payouts"], id, body, (lease) => pay(body, lease.fence));
   * });
   * ```
   *
   * Under `usage: "while-active"` the key is free again when the work ends: what comes meanwhile is
   * IN_PROGRESS, what comes later is new work.
   *
   * @throws what `work` throws; as {@link begin}; IdempError CONFLICT, IN_PROGRESS, OUTCOME_UNKNOWN
   * or EXPIRED where it is not executed and there is nothing to replay (IN_PROGRESS also where the process
   * stood still for a lease before the work began), OUTCOME_UNREADABLE where what
   * is stored is no JSON; TypeError where the value has no JSON form: it was done, and duplicates are
   * told that its outcome is unknown.
   */
  async run<T>(
    scope: Scope,
    key: string,
    payload: unknown,
    work: (lease: Lease) => T | Promise<T>,
    policy: PolicyOptions = this.options,
  ): Promise<T> {
    const decision = await this.begin(scope, key, fingerprintOf(payload), policy);
    if (decision.type === "hit") return read(decision.replay.outcome) as T;
    if (decision.type !== "miss") throw refusal(decision.type);
    const { lease } = decision;
    if (lease.remaining() === 0) {
      // The process stood still since its claim, and somebody else may have taken over.
      await lease.forget().catch(() => undefined);
      throw refusal("in-progress");
    }
    const awake = keptAlive(lease, this.policy(policy).lease_ms / 3);
    let outcome: T;
    try {
      outcome = await work(lease);
    } catch (error) {
      awake.stop();
      // The error of the work is the one to hear of; the lease lapses by itself.
      if (!lease.ending) await lease.release().catch(() => undefined);
      throw error;
    }
    awake.stop();
    let bytes: Uint8Array;
    try {
      bytes = written(outcome);
    } catch (error) {
      await lease.finishUnstorable();
      throw error;
    }
    // It was done: its value is worth more than the word of the store.
    const ended = await lease.finish(bytes).catch(() => undefined);
    if (ended?.type !== "stale") return outcome;
    if (ended.winner) return read(ended.winner.outcome) as T;
    throw refusal("in-progress");
  }

  /** In sight of whoever watches.
   *  @internal */
  protected override ask<D>(asked: Asked, call: machine.Machine<D>, held?: machine.Held): D | Promise<D> {
    if (!this.watch) return super.ask(asked, call, held);
    return this.watch(asked, held ?? checkedName(call.slot), () => super.ask(asked, call, held));
  }

  /** @internal */
  policy(options: PolicyOptions = this.options): Policy {
    return machine.policyIn(this.checked(options));
  }
}

function written(value: unknown): Uint8Array {
  return new TextEncoder().encode(JSON.stringify(value) ?? "");
}

function read(outcome: Uint8Array): unknown {
  if (outcome.length === 0) return undefined;
  try {
    return JSON.parse(new TextDecoder().decode(outcome));
  } catch {
    // Its own error shows a part of the text.
    throw new IdempError("OUTCOME_UNREADABLE", "the stored outcome is no JSON: `run` did not store it");
  }
}

const REFUSALS = {
  conflict: ["CONFLICT", "the key was used with another payload"],
  "in-progress": ["IN_PROGRESS", "somebody else is executing it; ask again later"],
  unknown: ["OUTCOME_UNKNOWN", "it may have been executed; resolve it before it is tried again"],
  expired: ["EXPIRED", "it was done, and its outcome is no longer kept"],
} as const;

function refusal(type: keyof typeof REFUSALS): IdempError {
  const [code, message] = REFUSALS[type];
  return new IdempError(code, message);
}

/** The longest text of a token, in characters. */
const MAX_TOKEN = 8 * 1024;

function readToken(text: string): LeaseToken {
  core(); // where there is none, that is what is wrong
  try {
    if (text.length <= MAX_TOKEN) {
      const token = JSON.parse(text) as LeaseToken;
      // Core reads it as a whole, before anybody relies on it.
      machine.say(machine.heldOf(token), { verb: "renew" }).start();
      return token;
    }
  } catch (error) {
    // A core that fails says nothing of the token. The text is not shown, since it may hold one in part.
    if (!/^(Idemp|Syntax|Type|Range)Error$/.test((error as Error).name)) throw error;
  }
  throw new IdempError("TOKEN_INVALID", "this text is not a lease token");
}
