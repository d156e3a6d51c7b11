/** What can go wrong with localStorage, in a real browser. */

import assert from "node:assert/strict";
import { after, afterEach, before, describe, test } from "node:test";
import { type Tabs, tabs } from "./tabs.js";

describe("the store of one tab's localStorage", () => {
  let browser: Tabs;
  before(async () => {
    browser = await tabs();
  });
  after(() => browser.close());
  afterEach(async () => {
    for (const tab of browser.context.pages().slice(1)) {
      if (tab.url().startsWith(browser.origin)) await tab.evaluate(() => localStorage.clear());
      await tab.close();
    }
  });

  test("a reload finds what was put", async () => {
    const tab = await browser.open();
    const rev = await tab.evaluate(() => {
      const claim = idemp.claim("survives");
      return idemp.singleTabLocalStorage().swap(claim).won && claim.put.rev;
    });
    await tab.reload();
    const found = await tab.evaluate(() => {
      const swapped = idemp.singleTabLocalStorage().swap(idemp.read("survives"));
      return swapped.won ? undefined : swapped.slot?.rev;
    });
    assert.equal(found, rev);
  });

  test("an entry that is not what was put is corrupt, stays, and is never vacant", async () => {
    const tab = await browser.open();
    const told = await tab.evaluate(async () => {
      const store = idemp.singleTabLocalStorage();
      store.swap(idemp.claim("x"));
      const name = `idemp:${idemp.name("x")}`;
      const text = localStorage.getItem(name) as string;
      const told: unknown[] = [];
      const version2 = btoa(`\u0002${atob(text).slice(1)}`);
      for (const entry of ["", "text!", "{}", btoa("short"), text.slice(0, -8), btoa(`${atob(text)}more`), version2]) {
        localStorage.setItem(name, entry);
        told.push(await idemp.codeOf(() => store.swap(idemp.claim("x"))), await idemp.codeOf(() => store.swap(idemp.read("x"))));
        store.purge();
        told.push(localStorage.getItem(name) === entry);
      }
      return told;
    });
    assert.deepEqual(told, Array.from({ length: 7 }, () => ["STORE_CORRUPT", "STORE_CORRUPT", true]).flat());
  });

  test("at the quota a swap is refused, nothing changes, and what is gone makes room", async () => {
    const tab = await browser.open();
    const told = await tab.evaluate(async () => {
      const store = idemp.singleTabLocalStorage({ now: () => Date.now() + idemp.offset });
      const large = async (slot: string) => {
        const told = await idemp.codeOf(() => store.swap(idemp.claim(slot, 60_000, new Uint8Array(1_500_000))));
        return typeof told === "string" ? told : told.won;
      };
      const bytes = (slot: string) => {
        const swapped = store.swap(idemp.read(slot));
        return swapped.won ? undefined : swapped.slot?.body.length;
      };
      localStorage.setItem("somebody else's", "x");
      const told: unknown[] = [await large("first"), await large("second"), await large("third")];
      told.push(bytes("first"), bytes("second"), bytes("third"));
      idemp.offset = 60_000;
      // A swap looks at two entries on its own; among so many, only a whole purge finds what is gone.
      for (let filler = 0; filler < 50; filler++) localStorage.setItem(`filler ${filler}`, "x");
      told.push(await large("third"), localStorage.getItem("somebody else's"));
      return told;
    });
    assert.deepEqual(told, [true, true, "STORE_FULL", 1_500_000, 1_500_000, undefined, true, "x"]);
  });

  test("what is gone leaves bit by bit, and what belongs to others stays", async () => {
    const tab = await browser.open();
    const [before, after] = await tab.evaluate(() => {
      const store = idemp.singleTabLocalStorage({ now: () => Date.now() + idemp.offset });
      idemp.offset = 0;
      localStorage.setItem("theirs", "text");
      localStorage.setItem("idemp", "text");
      for (let number = 0; number < 40; number++) store.swap(idemp.claim(`old ${number}`, 1_000));
      const before = localStorage.length;
      idemp.offset = 1_000;
      for (let number = 0; number < 40; number++) store.swap(idemp.read("x"));
      return [before, Object.keys(localStorage).sort()] as const;
    });
    assert.deepEqual([before, after], [42, ["idemp", "theirs"]]);
  });
});
