/** Measures in a page: `begin` and `finish` over IndexedDB, and two bare transactions of the same
 *  bytes. */
import { createIdempotency, fingerprintOf } from "idemp";
import { indexedDbStore } from "idemp/indexeddb";

const outcome = new Uint8Array(200);
const slot = { rev: "0".repeat(32), leaseUntil: 0, goneAt: 0, head: new Uint8Array(70), body: outcome };

async function bareStore(): Promise<(key: string) => Promise<void>> {
  const database = await new Promise<IDBDatabase>((resolve, reject) => {
    const opening = indexedDB.open("bare", 1);
    opening.onupgradeneeded = () => opening.result.createObjectStore("slots");
    opening.onsuccess = () => resolve(opening.result);
    opening.onerror = () => reject(opening.error);
  });
  return (key) =>
    new Promise((resolve, reject) => {
      const transaction = database.transaction("slots", "readwrite", { durability: "strict" });
      transaction.oncomplete = () => resolve();
      transaction.onabort = () => reject(transaction.error);
      transaction.objectStore("slots").put(slot, key);
    });
}

/** Medians of both, in milliseconds, taken in turn. */
async function measure(rounds: number, each: number): Promise<{ idemp: number[]; bare: number[] }> {
  const idem = createIdempotency({ store: indexedDbStore() });
  const put = await bareStore();
  const print = fingerprintOf({ file: "dawn.mp4" });
  let number = 0;
  const contenders = {
    async idemp() {
      const decision = await idem.begin(["user-1"], `key-${number++}`, print);
      if (decision.type === "miss") await decision.lease.finish(outcome);
    },
    async bare() {
      const key = `key-${number++}`;
      await put(key);
      await put(key);
    },
  };
  const times: { idemp: number[]; bare: number[] } = { idemp: [], bare: [] };
  for (let round = -2; round < rounds; round++) {
    for (const name of ["idemp", "bare"] as const) {
      const start = performance.now();
      for (let left = each; left > 0; left--) await contenders[name]();
      if (round >= 0) times[name].push((performance.now() - start) / each);
    }
  }
  return times;
}

Object.assign(globalThis, { measure });
