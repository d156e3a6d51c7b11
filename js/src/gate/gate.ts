import { keyOfHeader } from "../core/http.js";
import type { Fingerprint } from "../core/fingerprint.js";
import { slotKey, type Scope } from "../core/slot-key.js";
import type { Decision } from "../decision.js";
import { isPromise } from "../driver.js";
import { IdempError, StoreError } from "../errors.js";
import type { Idempotency } from "../idempotency.js";
import type { Lease } from "../lease.js";
import type { PolicyOptions } from "../policy.js";
import { inProgress, other, PLAIN_500, refused, replayed, type Answer, type Asking } from "./answer.js";
import { Execution } from "./execution.js";
import { rulesOf, UNAUTHENTICATED, type Awaitable, type GateOptions, type Rules } from "./options.js";
import { Owner } from "./owner.js";
import { fingerprintOfRequest, type Target } from "./payload.js";
import { LATE, within } from "./within.js";

/** A request with a key, on its way through a {@link Gate}. */
export interface Entry {
  readonly key: string;
  /** The raw `x-request-id` of the request. */
  readonly requestId: string | undefined;
}

/** What becomes of a request before its body is read. */
export type Entered =
  /** It is no business of the gate: the handler runs, untouched and streaming. */
  | { readonly type: "pass" }
  | { readonly type: "answer"; readonly answer: Answer }
  | { readonly type: "keyed"; readonly entry: Entry };

/** What becomes of a request with a key. */
export type Admitted =
  | { readonly type: "answer"; readonly answer: Answer }
  /** The store cannot be reached, and it was asked for by name: the handler runs without protection. */
  | { readonly type: "open" }
  /** The handler runs, unless the owner {@link Owner.isOver}; then the owner is settled, whatever comes of
   *  it. */
  | { readonly type: "execute"; readonly owner: Owner };

/** Why a request's body is not there: it is over the limit, it broke off, or somebody else has read it
 *  and has kept nothing that has its bytes. */
export type Unread = "too-large" | "broken" | "consumed";

/**
 * What every middleware shares: it carries out what core decides, and knows no framework.
 *
 * A middleware asks {@link enter}, then {@link admit}, runs the handler, and settles the {@link Owner}
 * before the first byte of an answer goes out.
 */
export class Gate<R> {
  /** Bytes. */
  readonly bodyLimit: number;
  /** Bytes. */
  readonly responseLimit: number;
  /** Milliseconds. */
  readonly streamAfter: number;
  readonly #idem: Idempotency;
  readonly #rules: Rules<R>;
  readonly #policy: PolicyOptions | undefined;
  /** Milliseconds. */
  readonly #lease: number;
  readonly #knownParts = new Set<string>();
  readonly #knownScopes = new Set<string>();
  #owners = 0;
  /** Owners, and what goes on after their answers. */
  #working = 0;
  #waiting: (() => void)[] = [];

  /** @throws IdempError OPTIONS_INVALID, SPAN_INVALID, STATUS_TABLE_INVALID or POLICY_INVALID, with what
   *  to do. */
  constructor(idem: Idempotency, options: GateOptions<R>) {
    this.#idem = idem;
    this.#rules = rulesOf(options);
    this.#policy = options.policy;
    this.#lease = idem.policy(options.policy).lease_ms;
    this.bodyLimit = this.#rules.bodyLimit;
    this.responseLimit = this.#rules.responseLimit;
    this.streamAfter = this.#rules.streamAfter;
  }

  /** Before the body is read. `keyValues` are the raw values of `Idempotency-Key`, one per header line,
   *  in Latin-1; `requestId` is the raw `x-request-id`. */
  enter(method: string, keyValues: readonly string[], requestId: string | undefined): Entered {
    const { methods, strict, required } = this.#rules;
    if (!methods.has(method) && !methods.has(method.toUpperCase())) return PASS;
    if (keyValues.length === 0) return required ? this.#refused("IDEMPOTENCY_KEY_MISSING", requestId) : PASS;
    try {
      const key = keyOfHeader(keyValues, strict);
      if (key !== undefined) return { type: "keyed", entry: { key, requestId } };
    } catch (error) {
      if ((error as IdempError).code !== "KEY_HEADER_INVALID") throw error;
    }
    return this.#refused("IDEMPOTENCY_KEY_INVALID", requestId);
  }

  /**
   * The rest. Never rejects: what fails is an answer.
   *
   * `body` is asked once, after the scope: it reads the body, up to {@link bodyLimit}. `background` is
   * handed what goes on after the answer, for runtimes that stop when an answer is given. `outer` is the
   * execution that the request is under already, where it came through another gate.
   */
  async admit(
    entry: Entry,
    request: R,
    target: Target,
    body: () => Promise<Uint8Array | Unread>,
    background?: (work: Promise<void>) => void,
    outer?: Execution,
  ): Promise<Admitted> {
    const asking = { profile: this.#rules.profile, ...entry };
    const told = this.#scopeOf(request, entry);
    const scope = isPromise(told) ? await told : told;
    if (typeof scope === "string") return answered(other(asking, scope));
    const bytes = await body().catch(() => "broken" as const);
    if (typeof bytes === "string") return answered(this.#unread(asking, bytes));
    const made = this.#fingerprintOf(request, target, bytes);
    const fingerprint = isPromise(made) ? await made : made;
    if (fingerprint === undefined) return answered(PLAIN_500);
    // From its claim on it may be executed, and its client may be gone.
    this.#working++;
    try {
      return await this.#decide(entry, asking, scope, fingerprint, background, outer);
    } finally {
      this.#worked();
    }
  }

  /** Resolves when nothing is executed any more, also for clients that are gone, and no outcome waits to
   *  be stored: for a graceful shutdown, after the server has stopped. A handler that does not answer is
   *  waited for until the ceiling of its lease. */
  idle(): Promise<void> {
    if (this.#working === 0) return Promise.resolve();
    return new Promise((resolve) => this.#waiting.push(resolve));
  }

  async #decide(
    entry: Entry,
    asking: Asking,
    scope: Scope,
    fingerprint: Fingerprint,
    background?: (work: Promise<void>) => void,
    outer?: Execution,
  ): Promise<Admitted> {
    const begun = this.#begin(scope, entry.key, fingerprint, background);
    const decision = isPromise(begun) ? await begun : begun;
    if (outer instanceof Execution && (decision.type === "in-progress" || decision.type === "conflict")) {
      if (isUnder(outer, scope, entry.key)) return answered(this.#nested(asking));
    }
    switch (decision.type) {
      case "miss":
        return this.#admitted(decision.lease, asking, background);
      case "hit":
        return answered(replayed(asking, decision.replay.outcome));
      case "conflict":
        return answered(refused(asking, "IDEMPOTENCY_KEY_CONFLICT"));
      case "in-progress":
        return answered(inProgress(asking, decision.other.remaining));
      case "unknown":
        return answered(refused(asking, "IDEMPOTENCY_OUTCOME_UNKNOWN"));
      case "expired":
        return answered(refused(asking, "IDEMPOTENCY_KEY_EXPIRED"));
      case "open":
        return OPEN;
      case "unavailable":
        return answered(refused(asking, "IDEMPOTENCY_STORE_UNAVAILABLE"));
    }
  }

  /** Asks the store, for as long as it may take. What it answers later is given back. */
  #begin(
    scope: Scope,
    key: string,
    fingerprint: Fingerprint,
    background?: (work: Promise<void>) => void,
  ): Begun | Promise<Begun> {
    try {
      const asked = this.#idem.decide(scope, key, fingerprint, this.#policy);
      return isPromise(asked) ? this.#inTime(asked, background) : asked;
    } catch (error) {
      return this.#failed(error);
    }
  }

  async #inTime(asked: Promise<Decision>, background?: (work: Promise<void>) => void): Promise<Begun> {
    const { failOpen, storeTimeout } = this.#rules;
    try {
      const decision = await within(storeTimeout, asked);
      if (decision !== LATE) return decision;
    } catch (error) {
      return this.#failed(error);
    }
    const given = asked.then((late) => {
      if (late.type === "miss") return this.#work(this.#giveBack(late.lease));
    }, nothing);
    background?.(given);
    return failOpen ? OPEN : UNAVAILABLE;
  }

  /** What cannot be read blocks, whatever was asked for. */
  #failed(error: unknown): Begun {
    return this.#rules.failOpen && error instanceof StoreError && error.retryable ? OPEN : UNAVAILABLE;
  }

  async #giveBack(late: Lease): Promise<void> {
    try {
      // Where it was executed all the same, the key stays bound to the payload.
      await (this.#rules.failOpen ? late.release() : late.forget());
    } catch {
      // It lapses.
    }
  }

  async #admitted(
    lease: Lease,
    asking: Asking,
    background?: (work: Promise<void>) => void,
  ): Promise<Admitted> {
    const rules = this.#rules as Rules<never>;
    if (this.#owners >= rules.maxOwners) {
      await this.#letGo(lease);
      return answered(refused(asking, "IDEMPOTENCY_OVERLOADED", 1));
    }
    this.#owners++;
    this.#working++;
    const owner = new Owner(lease, {
      rules,
      asking,
      lease: this.#lease,
      background: (work) => {
        const counted = this.#work(work);
        background?.(counted);
      },
      left: (overdue) => {
        this.#owners--;
        this.#worked();
        if (overdue) this.#report(new IdempError("HANDLER_OVERDUE", OVERDUE));
      },
    });
    return { type: "execute", owner };
  }

  /** Nothing was done under it. Where this fails the lease lapses. */
  async #letGo(lease: Lease): Promise<void> {
    await within(this.#rules.storeTimeout, lease.forget()).catch(nothing);
  }

  /** Counts the work, which never rejects. */
  async #work(work: Promise<void>): Promise<void> {
    this.#working++;
    await work;
    this.#worked();
  }

  #worked(): void {
    if (--this.#working > 0) return;
    for (const wake of this.#waiting.splice(0)) wake();
  }

  #scopeOf(request: R, { key }: Entry): Scoped | Promise<Scoped> {
    try {
      const told = this.#rules.scope(request);
      if (!isPromise(told)) return this.#scopeIn(told, key);
      return Promise.resolve(told)
        .then((told) => this.#scopeIn(told, key))
        .catch((error: unknown) => this.#noScope(error));
    } catch (error) {
      return this.#noScope(error);
    }
  }

  #scopeIn(told: string | Scope | undefined | typeof UNAUTHENTICATED, key: string): Scoped {
    if (told === UNAUTHENTICATED) return "unauthenticated";
    if (told === undefined) return "scope";
    const scope = typeof told === "string" ? [told] : told;
    // `null` as a text would be one scope for many.
    if (!scope.every((part) => typeof part === "string")) {
      throw new TypeError("idemp: every part of what `scope` gives is a text");
    }
    this.#check(scope, key);
    return scope;
  }

  #noScope(error: unknown): "scope" {
    this.#report(error);
    return "scope";
  }

  /** That core takes such a scope. It has taken the key, and a part is one with any key: so scopes that it
   *  took before are remembered. @throws IdempError KEY_INVALID */
  #check(scope: Scope, key: string): void {
    const text = scope.length === 1 ? (scope[0] as string) : JSON.stringify(scope);
    const known = scope.length === 1 ? this.#knownParts : this.#knownScopes;
    if (known.has(text)) return;
    slotKey(scope, key);
    if (known.size >= MOST_KNOWN) known.clear();
    known.add(text);
  }

  #fingerprintOf(request: R, target: Target, body: Uint8Array): Fingerprint | undefined | Promise<Fingerprint | undefined> {
    const { fingerprint } = this.#rules;
    if (fingerprint) return this.#ownFingerprint(() => fingerprint(request, body));
    try {
      return fingerprintOfRequest(target, body);
    } catch (error) {
      this.#report(error);
      return undefined;
    }
  }

  async #ownFingerprint(make: () => Awaitable<Fingerprint>): Promise<Fingerprint | undefined> {
    try {
      const told = await make();
      if (/^[0-9a-f]{66}$/.test(told)) return told;
      throw new TypeError("idemp: `fingerprint` gives what fingerprintOf, fingerprintJson or fingerprintBytes made");
    } catch (error) {
      this.#report(error);
      return undefined;
    }
  }

  #unread(asking: Asking, unread: Unread): Answer {
    if (unread === "too-large") return refused(asking, "IDEMPOTENCY_BODY_TOO_LARGE");
    if (unread === "consumed") this.#report(new IdempError("BODY_CONSUMED", CONSUMED));
    return other(asking, unread);
  }

  #nested(asking: Asking): Answer {
    this.#report(new IdempError("NESTED", NESTED));
    return other(asking, "nested");
  }

  #refused(code: string, requestId: string | undefined): Entered {
    return { type: "answer", answer: refused({ profile: this.#rules.profile, requestId }, code) };
  }

  #report(error: unknown): void {
    try {
      this.#rules.onError(error);
    } catch {
      // A hook that throws changes nothing.
    }
  }
}

type Scoped = Scope | "unauthenticated" | "scope";
type Begun = Decision | { type: "open" | "unavailable" };

/** Scopes, of up to 2 kB each. */
const MOST_KNOWN = 1000;

const PASS = { type: "pass" } as const;
const OPEN = { type: "open" } as const;
const UNAVAILABLE = { type: "unavailable" } as const;

const CONSUMED =
  "the body of a request was read before it could be compared: put the idempotency middleware before what reads it";

const NESTED =
  "a request came through two idempotency middlewares with one scope, and the inner one takes it for its own duplicate: " +
  "take one away, or name the inner one in its `scope`, such as [user, \"inner\"]";

/** Whether the execution holds this very key. */
function isUnder({ slot }: Execution, scope: Scope, key: string): boolean {
  return slot === slotKey(scope, key);
}

const OVERDUE =
  "a request with an idempotency key has no answer at the ceiling of its lease, and nobody waits for it any more: " +
  "give what its handler waits for a limit of time, or the policy a longer `ceiling`";

function answered(answer: Answer): Admitted {
  return { type: "answer", answer };
}

function nothing(): void {}
