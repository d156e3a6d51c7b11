/** What can go wrong with IndexedDB, in a real browser. */

import assert from "node:assert/strict";
import { after, afterEach, before, describe, test } from "node:test";
import type { Page } from "playwright-core";
import { type Tabs, tabs } from "./tabs.js";

describe("the IndexedDB store", () => {
  let browser: Tabs;
  before(async () => {
    browser = await tabs();
  });
  after(() => browser.close());
  afterEach(async () => {
    for (const tab of browser.context.pages().slice(1)) await tab.close();
  });

  test("a reload finds what was put, and another tab finds it, too", async () => {
    const tab = await browser.open();
    const rev = await tab.evaluate(async () => {
      const claim = idemp.claim("survives");
      const swapped = await idemp.indexedDbStore().swap(claim);
      return swapped.won && claim.put.rev;
    });
    await tab.reload();
    for (const page of [tab, await browser.open()]) {
      const found = await page.evaluate(async () => {
        const swapped = await idemp.indexedDbStore().swap(idemp.read("survives"));
        return swapped.won ? undefined : swapped.slot?.rev;
      });
      assert.equal(found, rev);
    }
  });

  test("an answer comes after the transaction is complete, not before", async () => {
    const tab = await browser.open();
    const order = await tab.evaluate(async () => {
      const store = idemp.indexedDbStore({ name: "in order" });
      await store.swap(idemp.claim("opens it"));
      await store.purge();
      const order: string[] = [];
      const { transaction } = IDBDatabase.prototype;
      IDBDatabase.prototype.transaction = function (...asked) {
        const begun = transaction.apply(this, asked);
        order.push(`${asked[1]}, ${asked[2]?.durability}`);
        begun.addEventListener("complete", () => order.push("complete"));
        return begun;
      };
      await store.swap(idemp.claim("in order"));
      order.push("answered");
      IDBDatabase.prototype.transaction = transaction;
      return order;
    });
    assert.deepEqual(order, ["readwrite, strict", "complete", "answered"]);
  });

  test("a swap that loses writes nothing", async () => {
    const tab = await browser.open();
    const writes = await tab.evaluate(async () => {
      const store = idemp.indexedDbStore({ name: "writes" });
      await store.swap(idemp.claim("taken"));
      await store.purge();
      let writes = 0;
      for (const method of ["add", "put", "delete"] as const) {
        const original = IDBObjectStore.prototype[method] as (...asked: unknown[]) => IDBRequest;
        IDBObjectStore.prototype[method] = function (this: IDBObjectStore, ...asked: unknown[]) {
          const request = original.apply(this, asked);
          request.addEventListener("success", () => {
            writes += 1;
          });
          return request;
        } as never;
      }
      await store.swap(idemp.claim("taken"));
      await store.swap(idemp.read("taken"));
      await store.swap({ ...idemp.claim("taken"), expect: { rev: idemp.fresh() } });
      const lost = writes;
      await store.swap(idemp.claim("free"));
      return { lost, won: writes - lost };
    });
    assert.deepEqual(writes, { lost: 0, won: 1 });
  });

  test("a tab of a newer version is not held up, and this one is told to reload", async () => {
    const [old, newer] = [await browser.open(), await browser.open()];
    await old.evaluate(async () => {
      idemp.store = idemp.indexedDbStore({ name: "upgraded" });
      await idemp.store.swap(idemp.claim("before"));
    });
    // It would fail if the old tab blocked it.
    await newer.evaluate(async () => (await idemp.opened("upgraded", 2)).close());
    const told = await old.evaluate(async () => {
      try {
        return await idemp.store.swap(idemp.claim("after"));
      } catch (error) {
        const { code, message, retryable } = error as { code: string; message: string; retryable: boolean };
        return { code, message, retryable };
      }
    });
    assert.deepEqual(told, {
      code: "STORE_UNUSABLE",
      message: "the store cannot be used as it is set up: a newer version of this page has its database: reload the page",
      retryable: false,
    });
  });

  test("a database that another tab deletes is made again", async () => {
    const [tab, other] = [await browser.open(), await browser.open()];
    await tab.evaluate(async () => {
      idemp.store = idemp.indexedDbStore({ name: "deleted" });
      await idemp.store.swap(idemp.claim("once"));
    });
    await other.evaluate(() => idemp.deleted("deleted"));
    assert.equal(await tab.evaluate(async () => (await idemp.store.swap(idemp.claim("once"))).won), true);
  });

  test("a browser that clears the site's data closes the connection, and the next swap opens another", async () => {
    const tab = await browser.open();
    await tab.evaluate(async () => {
      idemp.store = idemp.indexedDbStore({ name: "cleared" });
      await idemp.store.swap(idemp.claim("once"));
    });
    const devtools = await browser.context.newCDPSession(tab);
    await devtools.send("Storage.clearDataForOrigin", { origin: browser.origin, storageTypes: "indexeddb" });
    assert.equal(await tab.evaluate(async () => (await idemp.store.swap(idemp.claim("once"))).won), true);
  });

  test("a tab that ends between the write and the commit leaves no trace, and nobody waits for it", async () => {
    const judge = await browser.open();
    for (const how of ["closed", "crashed"]) {
      const tab = await browser.open();
      await tab.evaluate(async (slot) => {
        const store = idemp.indexedDbStore({ name: "mid-swap" });
        await store.swap(idemp.read("opens it"));
        const { add } = IDBObjectStore.prototype;
        const { commit } = IDBTransaction.prototype;
        const written = new Promise<void>((done) => {
          IDBObjectStore.prototype.add = function (...asked) {
            const request = add.apply(this, asked);
            // It is written, and the transaction goes on.
            request.onsuccess = () => {
              done();
              const hold = () => {
                this.get("x").onsuccess = hold;
              };
              hold();
            };
            return request;
          };
        });
        IDBTransaction.prototype.commit = () => {};
        void store.swap(idemp.claim(slot));
        await written;
        IDBTransaction.prototype.commit = commit;
      }, how);
      if (how === "closed") await tab.close();
      else await crash(tab);
      const won = await judge.evaluate(async (slot) => {
        const store = idemp.indexedDbStore({ name: "mid-swap" });
        const { won } = await store.swap(idemp.claim(slot));
        await store.close();
        return won;
      }, how);
      assert.equal(won, true, how);
    }
  });

  test("a tab that crashes at any moment of a swap leaves the old slot or the new one, none by half", async (t) => {
    const judge = await browser.open();
    const rounds = 20;
    let written = 0;
    for (let round = 0; round < rounds; round++) {
      const slot = `crash ${round}`;
      const tab = await browser.open();
      const told = new Promise<void>((done) => tab.once("console", () => done()));
      const swapping = tab.evaluate(async (slot) => {
        const store = idemp.indexedDbStore({ name: "crashes" });
        await store.swap(idemp.read("opens it"));
        console.log("now");
        await store.swap(idemp.claim(slot, 86_400_000, new Uint8Array(1_000_000).fill(7)));
      }, slot);
      swapping.catch(() => {});
      await told;
      await crash(tab);
      const found = await judge.evaluate(async (slot) => {
        const store = idemp.indexedDbStore({ name: "crashes" });
        const swapped = await store.swap(idemp.claim(slot));
        await store.close();
        if (swapped.won) return "vacant";
        return swapped.slot?.body.length === 1_000_000 && swapped.slot.body.every((byte) => byte === 7) ? "whole" : "torn";
      }, slot);
      assert.notEqual(found, "torn");
      written += Number(found === "whole");
    }
    t.diagnostic(`${rounds} tabs crashed in mid-swap: ${written} swaps were done, ${rounds - written} were not, none by half`);
  });

  test("at the browser's quota a swap is refused, nothing changes, and what is gone makes room", async () => {
    // An origin of its own, since the quota is the origin's.
    const origin = browser.origin.replace("127.0.0.1", "localhost");
    const tab = await browser.open("/", origin);
    const devtools = await browser.context.newCDPSession(tab);
    await devtools.send("Storage.overrideQuotaForOrigin", { origin, quotaSize: 5_000_000 });
    const large = (slot: string) =>
      tab.evaluate(async (slot) => {
        const told = await idemp.codeOf(() => idemp.store.swap(idemp.claim(slot, 60_000, idemp.random(3_000_000))));
        return typeof told === "string" ? told : told.won;
      }, slot);
    const bytes = (slot: string) =>
      tab.evaluate(async (slot) => {
        const swapped = await idemp.store.swap(idemp.read(slot));
        return swapped.won ? undefined : swapped.slot?.body.length;
      }, slot);
    await tab.evaluate(() => {
      idemp.store = idemp.indexedDbStore({ name: "quota", now: () => Date.now() + idemp.offset });
    });
    assert.equal(await large("first"), true);
    assert.equal(await large("second"), "STORE_FULL");
    assert.equal(await large("first"), false, "what is there is told, however full the store is");
    assert.deepEqual([await bytes("first"), await bytes("second")], [3_000_000, undefined]);
    await tab.evaluate(() => {
      idemp.offset = 60_000;
    });
    assert.equal(await large("third"), true);
  });

  test("a sandboxed page is refused, and told so", async () => {
    const tab = await browser.open("/sandboxed");
    assert.equal(await tab.evaluate(() => idemp.codeOf(() => idemp.indexedDbStore().swap(idemp.claim("x")))), "STORE_UNUSABLE");
    assert.equal(await tab.evaluate(() => idemp.codeOf(() => idemp.singleTabLocalStorage().swap(idemp.claim("x")))), "STORE_UNUSABLE");
  });

  test("a database with other content is left alone", async () => {
    const tab = await browser.open();
    const code = await tab.evaluate(async () => {
      const request = indexedDB.open("theirs", 1);
      request.onupgradeneeded = () => request.result.createObjectStore("theirs");
      (await idemp.answered(request)).close();
      return idemp.codeOf(() => idemp.indexedDbStore({ name: "theirs" }).swap(idemp.claim("x")));
    });
    assert.equal(code, "STORE_UNUSABLE");
  });

  test("an entry that is not what was put is corrupt, and never vacant", async () => {
    const tab = await browser.open();
    const codes = await tab.evaluate(async () => {
      const store = idemp.indexedDbStore({ name: "corrupt" });
      await store.swap(idemp.claim("x"));
      const database = await idemp.opened("corrupt");
      const codes = [];
      const bytes = new Uint8Array();
      const sound = { rev: idemp.fresh(), leaseUntil: Date.now(), goneAt: Date.now() + 60_000, head: bytes, body: bytes };
      for (const entry of [
        "text",
        null,
        {},
        { ...sound, rev: "00" },
        { ...sound, rev: "x".repeat(32) },
        { ...sound, goneAt: "soon" },
        { ...sound, goneAt: Number.NaN },
        { ...sound, goneAt: -1 },
        { ...sound, leaseUntil: 0.5 },
        { ...sound, head: [] },
        { ...sound, body: "text" },
      ]) {
        await idemp.answered(database.transaction("slots", "readwrite").objectStore("slots").put(entry, idemp.name("x")));
        for (const swap of [idemp.claim("x"), idemp.read("x")]) codes.push(await idemp.codeOf(() => store.swap(swap)));
      }
      database.close();
      return codes;
    });
    assert.deepEqual(codes, Array.from({ length: 22 }, () => "STORE_CORRUPT"));
  });

  test("a store that is closed refuses, and has let go of the database", async () => {
    const tab = await browser.open();
    const code = await tab.evaluate(async () => {
      const store = idemp.indexedDbStore({ name: "closed" });
      const running = store.swap(idemp.claim("x"));
      const { won } = await running;
      await store.close();
      await store.close();
      // It would fail if the store blocked it.
      await idemp.deleted("closed");
      return won && idemp.codeOf(() => store.swap(idemp.claim("x")));
    });
    assert.equal(code, "STORE_CLOSED");
  });

  test("a transaction that never ends in another tab is an error after the time-out, and nothing is overwritten later", async () => {
    const [tab, other] = [await browser.open(), await browser.open()];
    const claimed = await tab.evaluate(async () => {
      idemp.store = idemp.indexedDbStore({ name: "held up", timeout: 300 });
      const claim = idemp.claim("taken");
      await idemp.store.swap(claim);
      return claim.put.rev;
    });
    await other.evaluate(async () => {
      const database = await idemp.opened("held up");
      const held = database.transaction("slots", "readwrite").objectStore("slots");
      const hold = () => {
        const request = held.get("x");
        request.onsuccess = () => {
          if (!("letGo" in globalThis)) hold();
        };
      };
      hold();
    });
    const told = await tab.evaluate(async (rev) => {
      const [replaced, claimed] = [{ ...idemp.claim("taken"), expect: { rev } }, idemp.claim("free")];
      const told = await Promise.all([replaced, claimed].map((swap) => idemp.codeOf(() => idemp.store.swap(swap))));
      return { told, late: claimed.put.rev };
    }, claimed);
    assert.deepEqual(told.told, ["STORE_UNAVAILABLE", "STORE_UNAVAILABLE"]);
    await other.evaluate(() => Object.assign(globalThis, { letGo: true }) && undefined);
    const found = await tab.evaluate(async () => {
      const [taken, free] = [await idemp.store.swap(idemp.read("taken")), await idemp.store.swap(idemp.claim("free"))];
      return { taken: taken.won || taken.slot?.rev, free: free.won || free.slot?.rev };
    });
    assert.equal(found.taken, claimed, "a replacement that was given up came later");
    // A claim that was given up may still come, as long as nothing lies there: then it is that one.
    assert.ok(found.free === true || found.free === told.late);
  });

  test("what is gone leaves the database without being asked for", async () => {
    const tab = await browser.open();
    const [before, after] = await tab.evaluate(async () => {
      let now = Date.now();
      const store = idemp.indexedDbStore({ name: "purged", now: () => now });
      for (let number = 0; number < 150; number++) await store.swap(idemp.claim(`old ${number}`, 1_000));
      const database = await idemp.opened("purged");
      const count = () => idemp.answered(database.transaction("slots").objectStore("slots").count());
      const before = await count();
      now += 1_000;
      // Another visit of the page.
      const next = idemp.indexedDbStore({ name: "purged", now: () => now });
      for (let number = 0; number < 4; number++) {
        await next.swap(idemp.claim(`new ${number}`));
        // The purge that it began stands before this in the queue.
        await next.swap(idemp.read("x"));
      }
      const after = await count();
      database.close();
      return [before, after];
    });
    assert.deepEqual([before, after], [150, 4]);
  });

  test("a page may ask that nothing be evicted, and is told the answer", async () => {
    const tab = await browser.open();
    const [answer, is] = await tab.evaluate(async () => [await idemp.indexedDbStore().persist(), await navigator.storage.persisted()]);
    assert.equal(typeof answer, "boolean");
    assert.equal(answer, is);
  });
});

/** Ends a tab's renderer at once. */
async function crash(tab: Page) {
  const gone = tab.waitForEvent("crash");
  tab.goto("chrome://crash").catch(() => {});
  await gone;
  await tab.close();
}
