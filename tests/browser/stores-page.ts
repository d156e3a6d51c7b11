/** What the tests of the stores run in a page or a worker of a real browser. */

import "../../js/src/core/inline.js";
import { StoreError } from "../../js/src/errors.js";
import type { NewSlot, Store, Swap, Swapped } from "../../js/src/store.js";
import { indexedDbStore } from "../../js/src/stores/indexeddb.js";
import { singleTabLocalStorage } from "../../js/src/stores/local-storage.js";
import { conformance, type Law } from "../../js/src/testing/index.js";
import { fresh, name, newSlot, read } from "../../js/src/testing/world.js";

export type Kind = "indexeddb" | "local-storage";

/** How often a transaction was begun whose end a caller waits for. */
let strict = 0;
{
  const { transaction } = IDBDatabase.prototype;
  IDBDatabase.prototype.transaction = function (...asked) {
    if (asked[2]?.durability === "strict") strict += 1;
    return transaction.apply(this, asked);
  };
}

function lawsOf(kind: Kind): Law[] {
  if (kind === "local-storage") {
    return conformance({
      open: ({ name, now }) => singleTabLocalStorage({ prefix: `${name}:`, now }),
      purge: (store) => store.purge(),
      leave: ({ name }) => singleTabLocalStorage({ prefix: `${name}:` }).forget(""),
      limits: { unbounded: true },
    });
  }
  return conformance({
    open: ({ name, now }) => indexedDbStore({ name, now }),
    purge: (store) => store.purge(),
    trips: () => strict,
    async outOfReach({ name }) {
      (await opened(`${name}newer`, 2)).close();
      return indexedDbStore({ name: `${name}newer` });
    },
    async leave({ name }) {
      await Promise.all([deleted(name), deleted(`${name}newer`)]);
    },
    limits: { unbounded: true },
  });
}

function opened(name: string, version?: number): Promise<IDBDatabase> {
  return answered(indexedDB.open(name, version));
}

function deleted(name: string): Promise<unknown> {
  return answered(indexedDB.deleteDatabase(name));
}

function answered<T>(request: IDBRequest<T>): Promise<T> {
  return new Promise((resolve, reject) => {
    const timer = setTimeout(() => reject(new Error("another tab keeps the database open")), 5_000);
    request.onsuccess = () => {
      clearTimeout(timer);
      resolve(request.result);
    };
    request.onerror = () => reject(request.error);
  });
}

const DAY = 86_400_000;

function claim(slot: string, keepFor = DAY, body?: Uint8Array): Swap & { put: NewSlot } {
  const put = newSlot(keepFor / 2, keepFor);
  return { slot: name(slot), expect: "vacant", put: body ? { ...put, body } : put };
}

/** Bytes that no database makes smaller. */
function random(length: number): Uint8Array {
  const bytes = new Uint8Array(length);
  for (let at = 0; at < length; at += 50_000) crypto.getRandomValues(bytes.subarray(at, at + 50_000));
  return bytes;
}

/** The code of what a swap throws; its answer, where it throws nothing. */
async function codeOf(ask: () => Swapped | Promise<Swapped>): Promise<string | Swapped> {
  try {
    return await ask();
  } catch (error) {
    if (error instanceof StoreError) return error.code;
    throw error;
  }
}

/** Claims a slot a round, at the moment that all tabs of the race have agreed on. */
async function race(store: Store, of: string, rounds: number, withLock = false): Promise<{ rev: string; by: string; won: boolean }[]> {
  const results = [];
  for (let round = 0; round < rounds; round++) {
    const swap = claim(`${of} ${round}`);
    const start = Number(await (await fetch(`/meet?round=${of}-${round}`, { method: "POST" })).text());
    const go = async () => {
      while (Date.now() < start);
      return store.swap(swap);
    };
    const answer = withLock
      ? await navigator.locks.request("race", () => {
          while (Date.now() < start);
          return store.swap(swap);
        })
      : await go();
    const by = answer.won ? swap.put.rev : (answer.slot?.rev ?? "nobody");
    results.push({ rev: swap.put.rev, by, won: answer.won });
  }
  return results;
}

const page = {
  laws: (kind: Kind) => lawsOf(kind).map(({ name }) => name),
  /** What a law has to say against the store. */
  async hold(kind: Kind, name: string): Promise<string | undefined> {
    const law = lawsOf(kind).find((law) => law.name === name);
    try {
      await law?.hold();
      return law ? undefined : "there is no such law";
    } catch (error) {
      return `${error}\n${(error as Error).stack}`;
    }
  },
  /** The same in a worker. */
  holdInWorker(kind: Kind, name: string): Promise<string | undefined> {
    worker ??= new Worker("/stores-page.js", { type: "module" });
    const { port1, port2 } = new MessageChannel();
    worker.postMessage({ kind, name }, [port2]);
    return new Promise((resolve) => {
      port1.onmessage = ({ data }) => resolve(data);
    });
  },
  indexedDbStore,
  singleTabLocalStorage,
  opened,
  deleted,
  answered,
  claim,
  random,
  codeOf,
  race,
  read: (slot: string) => read(name(slot)),
  name,
  newSlot,
  fresh,
  /** By how much a store's clock is ahead. */
  offset: 0,
  store: undefined as unknown as Store & Partial<ReturnType<typeof indexedDbStore>>,
};

let worker: Worker | undefined;

declare global {
  /** See `stores-page.ts`: what a test calls in its page. */
  var idemp: typeof page;
}
globalThis.idemp = page;

if (!("document" in globalThis)) {
  addEventListener("message", async ({ data: { kind, name }, ports }) => {
    ports[0]?.postMessage(await page.hold(kind, name));
  });
}
