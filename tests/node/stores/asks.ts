/** Questions to a store, and what came of them. */
import assert from "node:assert/strict";
import { type NewSlot, type Slot, type Store, StoreError, type Swap, type SlotKey, slotKey } from "idemp";

export const MINUTE = 60_000;
/** How long a claim is kept, in milliseconds. */
export const KEPT = 60 * MINUTE;

/** The slot of a key. */
export function name(key: string): SlotKey {
  return slotKey(["tenant-7", "user-1"], key);
}

export function fresh(): string {
  return Buffer.from(crypto.getRandomValues(new Uint8Array(16))).toString("hex");
}

export interface Put extends Swap {
  readonly put: NewSlot;
}

/** A lease of a minute, where nothing lies. */
export function claim(key: string, { leaseFor = MINUTE, keepFor = KEPT } = {}): Put {
  const put = { rev: fresh(), leaseFor, keepFor, head: Buffer.from("head"), body: new Uint8Array() };
  return { slot: name(key), expect: "vacant", put };
}

/** The outcome in the place of what was claimed. */
export function outcome(begun: Put, body: string, keepFor = KEPT): Put {
  const put = { rev: fresh(), leaseFor: 0, keepFor, head: Buffer.from("head"), body: Buffer.from(body) };
  return { slot: begun.slot, expect: { rev: begun.put.rev }, put };
}

export function read(key: string): Swap {
  return { slot: name(key), expect: { rev: "0".repeat(32) }, put: "remove" };
}

/** What lies there. */
export async function lies(store: Store, key: string): Promise<Slot | undefined> {
  const reply = await store.swap(read(key));
  assert.equal(reply.won, false, "a read wins nothing");
  return reply.won ? undefined : reply.slot;
}

/** Wins, or the test fails. */
export async function wins(store: Store, swap: Swap): Promise<number> {
  const reply = await store.swap(swap);
  assert.equal(reply.won, true);
  return reply.now;
}

/** The error of a question that fails. */
export async function failure(asked: Promise<unknown>): Promise<StoreError> {
  const error = await asked.then(
    (answer) => assert.fail(`it was answered: ${JSON.stringify(answer)}`),
    (error: unknown) => error,
  );
  assert.ok(error instanceof StoreError, String(error));
  return error;
}

/** The kind of fault that an error of a store has for its cause. */
export function kind(error: StoreError): unknown {
  return (error.cause as { kind?: unknown } | undefined)?.kind;
}

/** Until it holds: what is waited for is seen, and nobody tells of it. */
export async function until(what: string, holds: () => boolean | Promise<boolean>): Promise<void> {
  const started = performance.now();
  while (!(await holds())) {
    assert.ok(performance.now() - started < MINUTE, `it never came that ${what}`);
    await new Promise((done) => setTimeout(done, 5));
  }
}
