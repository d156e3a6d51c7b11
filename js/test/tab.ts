/** Tabs that share a store and a clock, fresh for each test of the file that imports this. */
import "../src/core/inline.js";
import { setImmediate } from "node:timers/promises";
import { beforeEach } from "node:test";

import { createClient, type Client, type ClientEvent, type ClientOptions, type Work } from "../src/fetch/index.js";
import type { Store } from "../src/store.js";
import { memoryStore } from "../src/stores/memory.js";
import { manualClock, type ManualClock } from "./manual-clock.js";

// Here the lease is all there is; the tests in a browser have Web Locks beside it.
Object.defineProperty(globalThis, "navigator", { value: {}, configurable: true });

export const HOUR = 3_600_000;
export const PAYLOAD = { file: "a.mp4" };

export let clock: ManualClock;
export let store: Store;
export let events: ClientEvent[];

beforeEach(() => {
  clock = manualClock();
  store = memoryStore({ now: () => clock.now() });
  events = [];
});

/** A tab: all of them share the store. */
export function tab(options: Partial<ClientOptions> = {}): Client {
  return createClient({ user: "ada", store, clock, onEvent: (event) => events.push(event), ...options });
}

/** Work that ends when it is told to. */
export function gated<T>() {
  const given: Work[] = [];
  let open!: (value: T) => void;
  let fail!: (error: unknown) => void;
  let begin!: () => void;
  const began = new Promise<void>((resolve) => (begin = resolve));
  const gate = new Promise<T>((resolve, reject) => ([open, fail] = [resolve, reject]));
  const work = (one: Work) => {
    given.push(one);
    begin();
    return gate;
  };
  return { work, given, began, open, fail };
}

/** Ends when `so` holds. */
export async function until(so: () => boolean): Promise<void> {
  while (!so()) await setImmediate();
}
