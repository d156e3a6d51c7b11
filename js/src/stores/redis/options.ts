import { milliseconds, type Span } from "../../span.js";
import { fault } from "./fault.js";

export interface RedisStoreOptions {
  /** What every key begins with; `idemp:`, as in Rust. Stores with different prefixes share nothing,
   *  as long as none is the beginning of another. */
  readonly prefix?: string;
  /** How long an answer may take, the wait for copies not counted; 2 s. Then it is STORE_UNAVAILABLE,
   *  whatever the client goes on doing. */
  readonly answerWithin?: Span;
  /** How often the server is asked whether it may evict records, before a `begin`, besides at every
   *  new connection; 60 s. */
  readonly checkEvery?: Span;
  /** Uses a server that evicts records when its memory is full. **An evicted record executes again.** */
  readonly allowEviction?: boolean;
  /** Acknowledges nothing that fewer than so many replicas confirmed (`WAIT`): it outlives a fail-over
   *  to one of those. Too few in time is STORE_UNAVAILABLE, of kind `unreplicated`. A wait holds up
   *  what is asked behind it on the same connection: take a client, or a pool, of its own for it. */
  readonly waitForReplicas?: { readonly replicas: number; readonly within: Span };
  /** As {@link waitForReplicas}, and the write has to be synced to the append-only file of so many
   *  replicas and, where `local`, of the primary (`WAITAOF`). Redis 7.2 or newer. */
  readonly waitForDisks?: { readonly local: boolean; readonly replicas: number; readonly within: Span };
}

/** The options, checked. Milliseconds. */
export interface Options {
  readonly prefix: string;
  readonly answerWithin: number;
  readonly checkEvery: number;
  readonly allowEviction: boolean;
  readonly copies: Copies | undefined;
}

/** Which copies of a write are waited for, and how long. */
export interface Copies {
  readonly onDisk: boolean;
  /** How many have to confirm: on the primary's own disk, and replicas. */
  readonly local: number;
  readonly replicas: number;
  readonly within: number;
}

/** @throws StoreError STORE_UNUSABLE, IdempError SPAN_INVALID. */
export function checked(options: RedisStoreOptions): Options {
  const { prefix = "idemp:", answerWithin = "2s", checkEvery = "60s", allowEviction = false } = options;
  const copies = copiesOf(options);
  return {
    prefix,
    answerWithin: milliseconds(answerWithin) + (copies?.within ?? 0),
    checkEvery: milliseconds(checkEvery),
    allowEviction,
    copies,
  };
}

function copiesOf({ waitForReplicas, waitForDisks }: RedisStoreOptions): Copies | undefined {
  if (waitForReplicas && waitForDisks) throw fault("option", "a store waits for replicas or for disks, not for both");
  const waits = waitForDisks ?? waitForReplicas;
  if (!waits) return undefined;
  const local = waitForDisks?.local ? 1 : 0;
  const { replicas } = waits;
  if (!Number.isSafeInteger(replicas) || replicas < 0) throw fault("option", "a number of replicas is whole, and not negative");
  if (local + replicas === 0) throw fault("option", "a wait needs a copy to wait for");
  return { onDisk: waitForDisks !== undefined, local, replicas, within: milliseconds(waits.within) };
}
