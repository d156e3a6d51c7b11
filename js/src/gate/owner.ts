import { storedHead, type Disposition } from "../core/http.js";
import { isPromise } from "../driver.js";
import { IdempError, StoreError } from "../errors.js";
import { keptAlive } from "../keep-alive.js";
import type { Ended, Lease } from "../lease.js";
import { LONGEST_TIMER } from "../span.js";
import { inProgress, later, refused, replayed, type Answer, type Asking } from "./answer.js";
import { Execution } from "./execution.js";
import type { Rules } from "./options.js";
import { isEventStream } from "./payload.js";
import { LATE, sleep, within } from "./within.js";

/** What became of an execution. */
export type Outcome =
  | {
      readonly type: "response";
      readonly status: number;
      /** As they are sent: names in any case, repeated ones in their order, values in Latin-1. */
      readonly headers: readonly (readonly [name: string, value: string])[];
      readonly body: Uint8Array;
    }
  /** It was answered, and the body is too long, does not end or broke off; or its status is one that is
   *  not remembered, so nobody read it. */
  | { readonly type: "unstorable"; readonly status: number }
  /** The handler threw, and it is the framework that answers. */
  | { readonly type: "thrown" };

/** What an owner needs of its gate. */
export interface Surroundings {
  readonly rules: Rules<never>;
  readonly asking: Asking;
  /** Milliseconds. */
  readonly lease: number;
  /** Work that goes on after the answer. */
  background(work: Promise<void>): void;
  /** Its place is free; `overdue`, where it has none to answer in any more. */
  left(overdue?: boolean): void;
}

/**
 * The right to execute one request. It is kept alive until it is settled, so every one has to be: also
 * where the handler throws, and where its client is gone. One that is not has its place until the ceiling
 * of its lease.
 */
export class Owner {
  readonly execution: Execution;
  readonly #lease: Lease;
  readonly #at: Surroundings;
  readonly #awake: { stop(): void };
  #settled = false;
  #overdue = false;

  /** @internal */
  constructor(lease: Lease, surroundings: Surroundings) {
    this.execution = new Execution(lease);
    this.#lease = lease;
    this.#at = surroundings;
    this.#awake = keptAlive(lease, surroundings.lease / 3, this);
  }

  /** Gives its place back at the ceiling, by the clock of this machine: the store may be gone. The lease is
   *  left as it is, since what came of the execution is not known.
   *  @internal */
  beat(): void {
    if (this.#settled || this.#overdue) return;
    const { granted_at, seen_at, policy } = this.#lease.plain;
    const ceiling = granted_at + policy.ceiling_ms - seen_at - this.#lease.asked();
    // One that was renewed late may overrun it.
    const left = Math.max(ceiling, this.#lease.remaining());
    if (left > 0) {
      if (left < this.#at.lease / 3) after(left, () => this.beat());
      return;
    }
    this.#overdue = true;
    this.#awake.stop();
    this.#at.left(true);
  }

  /** Whether an answer of this status and content type is to be held back and handed to {@link settle}
   *  with its body. If not, settle it as unstorable as soon as its head is known, and then send it. */
  remembers(status: number, contentType: string | undefined): boolean {
    if (this.#at.rules.becomes(status) !== "remember") return false;
    return contentType === undefined || !isEventStream(contentType);
  }

  /**
   * Ends the lease. The first call counts, any further one changes nothing.
   *
   * To be awaited before the first byte of an answer goes out. What it gives is to be sent *instead* of
   * the handler's own answer, since that came too late: what the winner stored, or that somebody else is
   * at work. It is there at once where the store answers
   * at once. It never rejects: where the store fails or does not answer in time the client is not to wait
   * for it, and it is tried again in the background while the lease lives.
   */
  settle(outcome: Outcome): Answer | undefined | Promise<Answer | undefined> {
    return this.#settled ? undefined : this.#settleBy(this.#endingOf(outcome));
  }

  /** Whether the claim is so old that somebody else may have taken over: the process stood still. To be
   *  asked right before the handler runs, also by those whose claims were granted together: each waits for
   *  what the handlers before it do at once. Then {@link leave} it, and send {@link comeAgain}. */
  isOver(): boolean {
    // What is left of most leases is not read for that.
    return this.#lease.asked() > this.#at.lease / 4 && this.#lease.remaining() === 0;
  }

  /** Nothing was executed: gives the claim back. It never rejects, like {@link settle}. */
  async leave(): Promise<void> {
    if (!this.#settled) await this.#settleBy(WITHOUT.forget);
  }

  /** Bids to come again in a second. */
  comeAgain(): Answer {
    return later(refused(this.#at.asking, "IDEMPOTENCY_STORE_UNAVAILABLE"));
  }

  #settleBy(ending: Ending | undefined): Answer | undefined | Promise<Answer | undefined> {
    this.#settled = true;
    this.#awake.stop();
    const ended = ending && this.#end(ending);
    return isPromise(ended) ? ended.then((ended) => this.#after(ending, ended)) : this.#after(ending, ended);
  }

  #after(ending: Ending | undefined, ended: Ended | typeof FAILED | undefined): Answer | undefined {
    if (ended === FAILED) this.#at.background(this.#insist(ending as Ending));
    if (!this.#overdue) this.#at.left();
    // Retries were to get this outcome, and somebody else has executed it since, or does.
    if (ended === FAILED || ended?.type !== "stale" || !ending?.isOutcome) return undefined;
    const { asking } = this.#at;
    return ended.winner ? replayed(asking, ended.winner.outcome) : inProgress(asking, 0);
  }

  /** `undefined` where the handler has said it. */
  #endingOf(outcome: Outcome): Ending | undefined {
    const { mark } = this.execution;
    if (mark !== "none") return mark === "told" ? undefined : WITHOUT.fence;
    const becomes = this.#at.rules.becomes(outcome.type === "thrown" ? undefined : outcome.status);
    if (outcome.type !== "response" || becomes !== "remember") return WITHOUT[becomes];
    const stored = this.#stored(outcome);
    if (!stored) return WITHOUT.remember;
    return { isOutcome: true, say: (lease) => lease.conclude({ verb: "finish", body: stored }) };
  }

  /** `undefined` where it cannot be stored. */
  #stored({ status, headers, body }: Outcome & { type: "response" }): Uint8Array | undefined {
    const { responseLimit, headers: allow } = this.#at.rules;
    if (body.length > responseLimit) return undefined;
    try {
      const head = storedHead({ status, headers, bodyLength: body.length }, allow);
      const stored = new Uint8Array(head.length + body.length);
      stored.set(head);
      stored.set(body, head.length);
      return stored;
    } catch {
      return undefined;
    }
  }

  #end(ending: Ending): Ended | typeof FAILED | undefined | Promise<Ended | typeof FAILED | undefined> {
    try {
      const asked = ending.say(this.#lease);
      return isPromise(asked) ? this.#inTime(asked) : asked;
    } catch (error) {
      return failed(error);
    }
  }

  async #inTime(asked: Promise<Ended>): Promise<Ended | typeof FAILED | undefined> {
    try {
      const ended = await within(this.#at.rules.storeTimeout, asked);
      return ended === LATE ? FAILED : ended;
    } catch (error) {
      return failed(error);
    }
  }

  /** So that an outcome is not lost to a moment's failure. */
  async #insist(ending: Ending): Promise<void> {
    for (let pause = 100; this.#lease.remaining() > pause; pause *= 2) {
      await sleep(pause);
      if ((await this.#end(ending)) !== FAILED) return;
    }
  }
}

/** Keeps no process alive. */
function after(span: number, then: () => void): void {
  const timer = setTimeout(then, Math.min(span + 1, LONGEST_TIMER));
  if (typeof timer === "object") timer.unref();
}

/** How a lease ends. */
interface Ending {
  /** Whether retries are to get the outcome of this execution. */
  readonly isOutcome: boolean;
  say(lease: Lease): Ended | Promise<Ended>;
}

/** Where there is no answer to store. */
const WITHOUT: Record<Disposition, Ending> = {
  remember: { isOutcome: true, say: (lease) => lease.conclude({ verb: "unstorable" }) },
  release: { isOutcome: false, say: (lease) => lease.conclude({ verb: "release" }) },
  forget: { isOutcome: false, say: (lease) => lease.conclude({ verb: "forget" }) },
  fence: { isOutcome: false, say: (lease) => lease.conclude({ verb: "fence" }) },
};

const FAILED = Symbol("failed");

/** Asking again does not help where the store says so. */
function failed(error: unknown): typeof FAILED | undefined {
  const helps = error instanceof StoreError ? error.retryable : !(error instanceof IdempError) || error.code === "CONTENDED";
  return helps ? FAILED : undefined;
}
