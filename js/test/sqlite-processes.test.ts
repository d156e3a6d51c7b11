/** Several processes on one file, some of them killed in the middle. */

import assert from "node:assert/strict";
import { fork } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, test } from "node:test";

const folder = mkdtempSync(join(tmpdir(), "idemp-processes-"));
after(() => rmSync(folder, { recursive: true, force: true }));

const KEYS = 60;

type Said = { attempt: number } | { outcomes: string[] };

/** A process at work, and what it found in the end; nothing, where it was killed: then it is as soon as it
 *  executes something at that attempt. */
function start(round: string, name: string, killedAt?: number): Promise<string[] | undefined> {
  const ends = killedAt === undefined ? "well" : "killed";
  const words = [join(folder, `${round}.db`), join(folder, `${round}.log`), String(KEYS), name, ends];
  const child = fork(new URL("./processes/worker.ts", import.meta.url), words, { execArgv: ["--import", "tsx"] });
  let found: string[] | undefined;
  child.on("message", (said: Said) => {
    if ("outcomes" in said) found = said.outcomes;
    else if (said.attempt === killedAt) child.kill("SIGKILL");
  });
  return once(child, "exit").then(([code, signal]) => {
    assert.ok(signal === "SIGKILL" || code === 0, `${name} ended with ${code ?? signal}`);
    return found;
  });
}

function executions(round: string): string[][] {
  const lines = readFileSync(join(folder, `${round}.log`), "utf8").trim().split("\n");
  return lines.map((line) => line.split(" "));
}

test("four processes want the same keys: each is executed once, and all get its outcome", async () => {
  const found = await Promise.all(["a", "b", "c", "d"].map((name) => start("calm", name)));
  const log = executions("calm");
  assert.equal(log.length, KEYS);
  assert.ok(log.every(([, attempt]) => attempt === "1"));
  const outcomes = Array.from({ length: KEYS }, (_, number) => {
    const [key, , name] = log.find(([key]) => key === `key-${number}`)!;
    return `${key} by ${name}`;
  });
  for (const one of found) assert.deepEqual(one, outcomes);
});

test("processes are killed in the middle: each key is executed once per attempt, and all get one outcome", async () => {
  // Each in the midst of its executions, none of which it has stored; the second takes over from the first.
  for (const [at, name] of ["x", "y"].entries()) {
    assert.equal(await start("killed", name, at + 1), undefined, `${name} was not killed`);
  }
  const found = await Promise.all(["a", "b"].map((name) => start("killed", name)));
  const log = executions("killed");
  const attempts = new Set(log.map(([key, attempt]) => `${key} ${attempt}`));
  assert.equal(attempts.size, log.length, "an attempt was executed twice");
  assert.ok(log.some(([, attempt]) => attempt === "3"), "nobody took over from both");
  const [one, other] = found;
  assert.ok(one && other);
  assert.deepEqual(one, other);
  assert.equal(one.length, KEYS);
  for (const outcome of one) {
    const [key, , name] = outcome.split(" ");
    assert.ok(log.some(([ran, , by]) => ran === key && by === name), outcome);
    const twice = log.filter(([ran]) => ran === key);
    // Only what a killed process had begun was executed again.
    assert.ok(twice.length === 1 || twice.slice(0, -1).every(([, , by]) => by === "x" || by === "y"), outcome);
  }
});
