import { NOTHING } from "../core/bytes.js";
import type { Fingerprint } from "../core/fingerprint.js";
import type { Scope } from "../core/slot-key.js";
import type { Decision } from "../decision.js";
import type { Deciding } from "../deciding.js";
import type { PolicyOptions } from "../policy.js";
import type { Lease } from "../lease.js";
import type { Clock } from "./clock.js";
import { ConflictError, OnceError, RefusedError, UnknownOutcomeError } from "./errors.js";
import { taken } from "./locks.js";
import { freshKey, read, written, type Note } from "./record.js";
import type { RetryRules } from "./retry.js";
import type { Attempt } from "./send.js";
import type { Wakes } from "./wakes.js";
import { workFetch, type Work } from "./work.js";

/** Where the work of a client takes place. */
export interface Place {
  readonly idem: Deciding;
  readonly wakes: Wakes;
  readonly clock: Clock;
  readonly rules: RetryRules;
  readonly fetch: typeof fetch;
}

/** One intent of one user. */
export interface Intended {
  readonly scope: Scope;
  readonly key: string;
  /** The name of its lock and its wakes. */
  readonly id: string;
}

/** What happened on the way. */
export type OnceEvent =
  | { readonly type: "started" | "resumed"; readonly attempt: number }
  | { readonly type: "joined" | "finished" | "conflict" }
  | ({ readonly type: "sent" } & Attempt)
  /** An attempt came to nothing. `refused`: its key was given up. */
  | { readonly type: "failed" | "refused"; readonly error: unknown }
  /** The outcome is known, and could not be stored: the next call sends the same key. */
  | { readonly type: "unstored"; readonly error: unknown };

/** How an intent is carried out. */
export interface Carrying<T> {
  readonly work: (work: Work) => Promise<T>;
  readonly signal: AbortSignal;
  /** How long the intent is remembered, in milliseconds. */
  readonly expiry: number;
  readonly tell: (event: OnceEvent) => void;
}

/**
 * Carries out an intent, or joins the one who does: resolves with the outcome.
 *
 * Who has the Web Lock of the slot begins. A key is made and published on the slot before the work
 * starts, so before anything is sent; whoever begins after a crash finds it there and goes on with
 * it. The outcome is published in its turn, and stands until the intent is settled or expires.
 */
export async function once<T>(
  place: Place,
  intended: Intended,
  fingerprint: Fingerprint,
  carrying: Carrying<T>,
): Promise<T> {
  const { idem, wakes, clock } = place;
  const { scope, key, id } = intended;
  const { signal, expiry, tell } = carrying;
  const policy = policies(expiry).inFlight;
  const conflict = () => {
    tell({ type: "conflict" });
    return new ConflictError("CONFLICT", false);
  };
  signal.throwIfAborted();
  /** The key of the attempt that this call waits for. */
  let awaited: string | undefined;
  const waits = (known: Note | undefined) => {
    if (known && !known.done) awaited = known.key;
  };
  let free = await taken(id);
  if (free === undefined) {
    // Somebody is at work. Another payload need not wait to be told.
    const ahead = await owner(place, intended, fingerprint, policy);
    if (ahead?.type === "conflict") throw conflict();
    if (ahead?.type === "in-progress") waits(read(ahead.other.published));
    free = await taken(id, signal);
  }
  // From here on: what wakes after the question was put is not missed.
  const woken = alarm(wakes, id, signal);
  try {
    for (;;) {
      signal.throwIfAborted();
      const wake = woken.next();
      const decision = await idem.begin(scope, key, fingerprint, policy);
      if (decision.type === "miss") {
        const { lease } = decision;
        const earlier = read(lease.published);
        if (earlier && isOver(earlier, clock, expiry)) {
          await lease.finish(NOTHING);
          continue;
        }
        if (!earlier && awaited) {
          // What it waited for was ended by somebody: to do it again is nobody's wish yet.
          await lease.forget();
          throw new OnceError("SETTLED", true);
        }
        const note = earlier ?? (await noted(lease, { key: freshKey(), at: clock.now() }));
        if (!note) continue;
        tell({ type: earlier ? "resumed" : "started", attempt: lease.attempt });
        return await carryOut(place, intended, lease, note, carrying, () => free?.());
      } else if (decision.type === "in-progress") {
        const { published, remaining } = decision.other;
        const known = read(published);
        if (known?.done) {
          tell({ type: "joined" });
          return known.data as T;
        }
        waits(known);
        if (free) {
          // Its owner would have the lock if it lived: what it held is free for the next attempt.
          const left = await idem.peek(scope, key, policy);
          if (left && !read(left.body)?.done) await left.lease.release();
        } else {
          await clock.sleep(Math.max(remaining, 50), wake);
        }
      } else if (decision.type === "conflict") {
        const left = await idem.peek(scope, key, policy);
        const known = read(left?.body);
        // Where there is no key nothing was sent, and who has the lock knows that its owner is dead.
        const binds = known ? left?.live || !isOver(known, clock, expiry) : !free;
        if (!left || binds) throw conflict();
        await left.lease.finish(NOTHING);
      } else {
        // Not of this client's making: somebody fenced it.
        throw new UnknownOutcomeError("OUTCOME_UNKNOWN", false);
      }
    }
  } finally {
    woken.stop();
    free?.();
  }
}

/** The two policies of an intent, the same objects each time: a façade keeps what it checked. */
export function policies(expiry: number): Policies {
  let made = POLICIES.get(expiry);
  if (!made) {
    const active: PolicyOptions = { usage: "while-active", retention: expiry };
    made = { active, inFlight: { ...active, lease: Math.min(LEASE, expiry) } };
    POLICIES.set(expiry, made);
  }
  return made;
}

interface Policies {
  /** While the work is in flight: a crashed owner's slot is decidable after half a minute where
   *  there are no Web Locks. */
  readonly inFlight: PolicyOptions;
  /** Once the outcome is known: it stands until it is settled or expires. */
  readonly active: PolicyOptions;
}

const POLICIES = new Map<number, Policies>();

const LEASE = 30_000;

/** Whether a slot whose lease is over may be taken as if it were vacant. */
export function isOver(known: Note, clock: Clock, expiry: number): boolean {
  return known.done || clock.now() - known.at >= expiry;
}

/** What an owner who lives makes of this payload; `undefined` where there is none. */
async function owner(
  { idem }: Place,
  { scope, key }: Intended,
  fingerprint: Fingerprint,
  policy: PolicyOptions,
): Promise<Decision | undefined> {
  if (!(await idem.peek(scope, key, policy))?.live) return undefined;
  const decision = await idem.begin(scope, key, fingerprint, policy);
  if (decision.type === "miss") {
    // The owner ended between the two questions, and this one is not to be the next.
    const { lease } = decision;
    await (lease.published ? lease.release() : lease.forget());
  }
  return decision;
}

/** Leaves the key on the slot, before anything is sent; `undefined` where the lease is lost. */
async function noted(lease: Lease, note: Note): Promise<Note | undefined> {
  try {
    const { type } = await lease.publish(written(note));
    return type === "stale" ? undefined : note;
  } catch (error) {
    // Nothing was sent, and nothing will be.
    await lease.forget().catch(() => {});
    throw error;
  }
}

/** Does the work under its lease. `free` frees the lock as soon as the lease is lost. */
async function carryOut<T>(
  place: Place,
  { id }: Intended,
  lease: Lease,
  note: Note,
  { work, signal, expiry, tell }: Carrying<T>,
  free: () => void,
): Promise<T> {
  const { idem, wakes, clock, rules } = place;
  // One verb at a time: each needs the revision that the one before it left.
  let last: Promise<unknown> = Promise.resolve();
  const inTurn = <R>(verb: () => Promise<R>): Promise<R> => {
    const turn = last.then(verb, verb);
    last = turn.catch(() => {});
    return turn;
  };
  wakes.wake(id);
  const { key, at } = note;
  let doubt = false;
  let over = false;
  const renewing = keepAlive(place, id, () => inTurn(() => lease.renew()), lease, free);
  let abort = () => {};
  const aborted = new Promise<never>((_, reject) => {
    abort = () => reject(signal.reason);
  });
  // Work that aborts and throws at once is not raced with it.
  aborted.catch(() => {});
  signal.addEventListener("abort", abort);
  const stop = () => {
    over = true;
    renewing();
    signal.removeEventListener("abort", abort);
  };
  let data: T;
  try {
    signal.throwIfAborted();
    const works = work({
      key,
      attempt: lease.attempt,
      since: at,
      signal,
      fetch: workFetch({
        key,
        since: at,
        signal,
        rules,
        clock,
        fetch: place.fetch,
        onAttempt: (attempt) => tell({ type: "sent", ...attempt }),
        doubt: () => (doubt = true),
      }),
      publish: async (state) => {
        const bytes = written({ key, at, data: state });
        // What comes after the outcome would undo it.
        if (over) return;
        await inTurn(() => lease.publish(bytes));
        wakes.wake(id);
      },
    });
    data = await Promise.race([works, aborted]);
  } catch (error) {
    stop();
    const refused = error instanceof RefusedError && !error.retryable && !doubt;
    // Where this fails the lease lapses; the error of the work is what the caller has to know.
    await inTurn(() => (refused ? lease.forget() : lease.release())).catch(() => {});
    tell({ type: refused ? "refused" : "failed", error });
    wakes.wake(id);
    throw error;
  }
  stop();
  let asked = false;
  try {
    const outcome = written({ key, at, done: true, data });
    asked = true;
    await inTurn(() => idem.under(lease, policies(expiry).active).publish(outcome));
    tell({ type: "finished" });
  } catch (error) {
    // It is done, and the caller shall have it. Whether it is stored is not known, and a release
    // would make it an outcome that is over: so the lease lapses, and the next call sends the same key.
    if (!asked) await inTurn(() => lease.release()).catch(() => {});
    tell({ type: "unstored", error });
  }
  wakes.wake(id);
  return data;
}

/** Renews a lease until it is stopped, and tells when it is lost. */
function keepAlive(
  { clock, wakes }: Place,
  id: string,
  renew: () => ReturnType<Lease["renew"]>,
  lease: Lease,
  lost: () => void,
): () => void {
  let nudge = new AbortController();
  let going = true;
  const hush = wakes.listen(id, (vacated) => vacated && nudge.abort());
  const stop = () => {
    going = false;
    hush();
    nudge.abort();
  };
  void (async () => {
    while (going) {
      await clock.sleep(Math.max(lease.remaining() / 2, 1000), nudge.signal);
      if (!going) return;
      nudge = new AbortController();
      try {
        const { type } = await renew();
        if (type === "held") continue;
        if (type === "stale") lost();
        stop();
      } catch {
        // One renewal that failed is survived.
      }
    }
  })();
  return stop;
}

/** A signal for each sleep: aborts on the next wake of the slot, or with `signal`. */
function alarm(wakes: Wakes, id: string, signal: AbortSignal) {
  let current = new AbortController();
  const ring = () => current.abort();
  const hush = wakes.listen(id, ring);
  signal.addEventListener("abort", ring);
  return {
    next(): AbortSignal {
      current = new AbortController();
      if (signal.aborted) ring();
      return current.signal;
    },
    stop(): void {
      hush();
      signal.removeEventListener("abort", ring);
    },
  };
}
