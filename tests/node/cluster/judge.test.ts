import assert from "node:assert/strict";
import { test } from "node:test";
import { judge } from "./judge.js";
import type { Entry } from "./ledger.js";

/** Leases of 100 ms, with 95 certain. Times are in milliseconds. */
const executed = (attempt: number, at: number, fence = attempt, remaining = 95): Entry => ({
  ...{ type: "executed", key: "k", attempt, fence: String(fence), at: at * 1e6, remaining, worker: 1 },
  outcome: `outcome-${attempt}`,
});
const failing = (attempt: number, at: number): Entry => ({ type: "failing", key: "k", attempt, at: at * 1e6 });
const told = (of: number, asked: number, at: number, status = 201): Entry => ({
  ...{ type: "told", key: "k", asked: asked * 1e6, at: at * 1e6, status, replayed: false },
  body: status === 201 ? `outcome-${of}` : "",
});

test("an execution, its answer and its replays are well", () => {
  const verdict = judge([executed(1, 1), told(1, 0, 10), told(1, 20, 21), told(0, 5, 6, 409)]);
  assert.deepEqual(verdict.broken, []);
  assert.deepEqual([verdict.executions, verdict.lapses, verdict.requests, verdict.inProgress], [1, 0, 3, 1]);
});

test("one more execution after a lapse and after a failure is well", () => {
  const verdict = judge([executed(1, 1), executed(2, 97), failing(2, 99), executed(3, 100), told(3, 0, 110)]);
  assert.deepEqual(verdict.broken, []);
  assert.deepEqual([verdict.executions, verdict.lapses, verdict.releases], [3, 1, 1]);
});

test("one more execution without a lapse or a failure is a lost lease", () => {
  assert.match(judge([executed(1, 1), executed(2, 50)]).broken.join(), /attempt 1 lost a lease/);
  assert.match(judge([executed(1, 1), executed(2, 50), failing(1, 60)]).broken.join(), /attempt 1 lost a lease/);
});

test("a worker that stalls before it executes begins late, and harms no promise", () => {
  const late = judge([executed(1, 200, 1, 0), executed(2, 100), told(2, 0, 110)]);
  assert.deepEqual([late.broken, late.late, late.lapses], [[], 1, 1]);
  // With a lease that lives it would be another thing, and so after the winner.
  const early = judge([executed(1, 200, 1, 5), executed(2, 100)]);
  assert.match(early.broken.join(), /attempt 1 lost a lease/);
  const after = judge([executed(1, 1), told(1, 0, 10), executed(2, 200, 2, 0)]);
  assert.match(after.broken.join(), /executed after its outcome was told/);
});

test("an attempt twice, and a fence that stands still, are breaches", () => {
  assert.match(judge([executed(1, 1), executed(1, 200)]).broken.join(), /an attempt was executed twice/);
  assert.match(judge([executed(1, 1, 5), executed(2, 200, 5)]).broken.join(), /a fence did not grow/);
});

test("two outcomes, an outcome of nobody, and one of a failure are breaches", () => {
  const two = [executed(1, 1), executed(2, 200), told(1, 0, 300), told(2, 0, 300)];
  assert.match(judge(two).broken.join(), /2 outcomes were told/);
  assert.match(judge([executed(1, 1), told(7, 0, 10)]).broken.join(), /that no execution made/);
  assert.match(judge([executed(1, 1), failing(1, 2), told(1, 0, 10)]).broken.join(), /that failed has won/);
});

test("an outcome that was told is kept", () => {
  const again = [executed(1, 1), told(1, 0, 10), executed(2, 200)];
  assert.match(judge(again).broken.join(), /executed after its outcome was told/);
  const refused = [executed(1, 1), told(1, 0, 10), told(0, 20, 21, 409)];
  assert.match(judge(refused).broken.join(), /came back as 409/);
});
