/** The laws hold in the browser's stores, in a page and in a worker. */

import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";
import type { Page } from "playwright-core";
import { type Tabs, tabs } from "./tabs.js";

describe("the laws of a store, in Chromium", () => {
  let browser: Tabs;
  let page: Page;
  before(async () => {
    browser = await tabs();
    page = await browser.open();
  });
  after(() => browser.close());

  for (const [kind, where] of [
    ["indexeddb", "page"],
    ["indexeddb", "worker"],
    ["local-storage", "page"],
  ] as const) {
    test(`${kind} in a ${where}`, async (t) => {
      for (const name of await page.evaluate((kind) => idemp.laws(kind), kind)) {
        await t.test(name, async () => {
          const broken = await page.evaluate(
            ([kind, where, name]) => (where === "worker" ? idemp.holdInWorker(kind, name) : idemp.hold(kind, name)),
            [kind, where, name] as const,
          );
          assert.equal(broken, undefined);
        });
      }
    });
  }
});
