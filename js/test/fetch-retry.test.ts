import assert from "node:assert/strict";
import { suite, test } from "node:test";

import { systemClock } from "../src/fetch/clock.js";
import { rulesOf, wait } from "../src/fetch/retry.js";
import { milliseconds } from "../src/span.js";
import { retryAfter } from "../src/fetch/verdict.js";
import { fakeClock } from "./fake-clock.js";

suite("when a request is sent again", () => {
  const clock = fakeClock(0.5);
  const since = clock.now();

  test("the wait doubles, is drawn between zero and that, and ends at the cap", () => {
    const rules = rulesOf({ attempts: 20, base: 100, cap: 1000 });
    const waits = [1, 2, 3, 4, 5, 6, 19].map((attempt) => wait(rules, clock, { attempt, since }));
    assert.deepEqual(waits, [50, 100, 200, 400, 500, 500, 500]);
    assert.equal(wait(rules, fakeClock(0), { attempt: 3, since }), 0);
  });

  test("it is sent as often as it says, and no more", () => {
    const rules = rulesOf({ attempts: 3 });
    assert.notEqual(wait(rules, clock, { attempt: 2, since }), undefined);
    assert.equal(wait(rules, clock, { attempt: 3, since }), undefined);
  });

  test("what the server asks for is waited for in full, and some more, so that clients spread", () => {
    const rules = rulesOf({ base: 100 });
    assert.equal(wait(rules, clock, { attempt: 1, since, asked: 7000 }), 7050);
  });

  test("a server that asks for more than the patience is not asked again", () => {
    const rules = rulesOf({ patience: "10s" });
    assert.notEqual(wait(rules, clock, { attempt: 1, since, asked: 10_000 }), undefined);
    assert.equal(wait(rules, clock, { attempt: 1, since, asked: 10_001 }), undefined);
  });

  test("nothing is sent when the server's window is over, which is counted from the first time", () => {
    const rules = rulesOf({ window: "1m", base: 100 });
    const sent = (ago: number) => wait(rules, clock, { attempt: 1, since: since - ago });
    assert.notEqual(sent(59_949), undefined);
    assert.equal(sent(59_950), undefined, "it would go out at the very end");
  });

  test("nothing is sent where the clock was set back behind the first time: how long ago that is nobody knows", () => {
    const rules = rulesOf({ window: "1h", base: 100 });
    const sent = (ahead: number, asked?: number) => wait(rules, clock, { attempt: 1, since: since + ahead, asked });
    assert.equal(sent(3_600_000), undefined);
    assert.equal(sent(60_000, 119_000), undefined, "a wait makes up for nothing");
    assert.notEqual(sent(30_000), undefined, "a clock that is put right by seconds is the same clock");
  });

  test("a page without a network waits as long as it may, since it is woken", () => {
    const rules = rulesOf({ base: 100, cap: "20s" });
    assert.equal(wait(rules, clock, { attempt: 1, since, offline: true }), 20_000);
  });

  test("the defaults are 5 times, half a second, 30 s, 2 minutes and 24 h", () => {
    const expected = { attempts: 5, base: 500, cap: 30_000, patience: 120_000, window: 86_400_000 };
    assert.deepEqual(rulesOf(), expected);
  });

  test("what is no span and no number of times is refused, never clamped", () => {
    for (const attempts of [0, -1, 1.5, Infinity, Number.NaN]) {
      assert.throws(() => rulesOf({ attempts }), RangeError);
    }
    for (const span of [0, -1, Number.NaN, Infinity, "0s", "1.2.3s", "s", "", "5 m", "5w", "-5s"]) {
      assert.throws(() => milliseconds(span as number), { code: "SPAN_INVALID" }, `${span}`);
    }
    assert.deepEqual([250, "250ms", "1.5s", "2m", "1h", "7d"].map((span) => milliseconds(span as number)), [
      250, 250, 1500, 120_000, 3_600_000, 604_800_000,
    ]);
  });
});

suite("Retry-After", () => {
  const now = Date.parse("Wed, 21 Oct 2026 07:28:00 GMT");
  const after = (headers: Record<string, string>) => retryAfter(new Response(null, { headers }), now);

  test("is a number of seconds", () => {
    assert.equal(after({ "retry-after": "120" }), 120_000);
    assert.equal(after({ "retry-after": "0" }), 0);
  });

  test("is a date, which is read on the server's clock where that is told", () => {
    const until = "Wed, 21 Oct 2026 07:28:30 GMT";
    assert.equal(after({ "retry-after": until }), 30_000);
    const date = "Wed, 21 Oct 2026 07:28:20 GMT";
    assert.equal(after({ "retry-after": until, date }), 10_000);
    assert.equal(after({ "retry-after": "Wed, 21 Oct 2015 07:28:00 GMT" }), 0, "it has passed");
  });

  test("is nothing where it is neither", () => {
    for (const text of ["", "soon", "1.5", "-1s", "1e3x"]) {
      assert.equal(after({ "retry-after": text }), undefined, text);
    }
    assert.equal(after({}), undefined);
  });
});

suite("the clock of this machine", () => {
  test("a sleep ends with its signal", async () => {
    const over = new AbortController();
    const sleep = systemClock.sleep(1e9, over.signal);
    over.abort();
    await sleep;
    await systemClock.sleep(1e9, over.signal);
  });
});
