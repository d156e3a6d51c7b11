/** Two tabs claim one slot at the same moment, hundreds of times. */

import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";
import type { Page } from "playwright-core";
import { type Tabs, tabs } from "./tabs.js";

const ROUNDS = 300;

describe("two tabs race for one slot", () => {
  let browser: Tabs;
  let both: Page[];
  before(async () => {
    browser = await tabs();
    both = [await browser.open(), await browser.open()];
  });
  after(() => browser.close());

  test("over IndexedDB exactly one wins, and the other is told who", async (t) => {
    const runs = await Promise.all(both.map((tab) => tab.evaluate((rounds) => idemp.race(idemp.indexedDbStore(), "indexeddb", rounds), ROUNDS)));
    const [left, right] = runs as [(typeof runs)[0], (typeof runs)[0]];
    let leftWon = 0;
    for (let round = 0; round < ROUNDS; round++) {
      const [one, other] = [left[round], right[round]];
      assert.ok(one && other && one.won !== other.won, `round ${round}: both ${one?.won ? "won" : "lost"}`);
      assert.equal(one.by, other.by, `round ${round}: the loser is told another winner`);
      leftWon += Number(one.won);
    }
    t.diagnostic(`${ROUNDS} races, ${leftWon} won by the first tab, ${ROUNDS - leftWon} by the second, none by both`);
    // A race that always has the same winner is none.
    assert.ok(leftWon > 0 && leftWon < ROUNDS);
  });

  test("over localStorage two may win, also inside a Web Lock: the reason for one tab", async (t) => {
    for (const withLock of [false, true]) {
      const runs = await Promise.all(
        both.map((tab) =>
          tab.evaluate(
            ([rounds, withLock]) => idemp.race(idemp.singleTabLocalStorage(), `localStorage ${withLock}`, rounds, withLock),
            [ROUNDS, withLock] as const,
          ),
        ),
      );
      const [left, right] = runs as [(typeof runs)[0], (typeof runs)[0]];
      const winners = left.map(({ won }, round) => Number(won) + Number(right[round]?.won));
      assert.ok(winners.every((count) => count >= 1), "a race without a winner");
      const two = winners.filter((count) => count === 2).length;
      t.diagnostic(`${ROUNDS} races over localStorage${withLock ? " inside an exclusive Web Lock" : ""}: ${two} with two winners`);
    }
  });
});
