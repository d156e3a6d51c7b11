import assert from "node:assert/strict";
import { setImmediate } from "node:timers/promises";
import { test } from "node:test";

import type { Client, Known } from "../src/fetch/client.js";
import { Session } from "../src/react/session.js";

test("of two looks that are answered in the wrong order the later one is shown", async () => {
  const looks: ((known: Known<string> | undefined) => void)[] = [];
  let wake = () => {};
  // Only what a session asks of a client, so that the answers come when they are wanted.
  const client = {
    peek: () => new Promise((resolve) => looks.push(resolve)),
    subscribe: (_: unknown, listener: () => void) => ((wake = listener), () => {}),
  } as unknown as Client;
  const session = new Session<string>(client, "order", undefined);
  const leave = session.subscribe(() => {});
  wake();
  looks[1]!({ status: "done", key: "k", data: "new" });
  looks[0]!(undefined);
  await setImmediate();
  assert.deepEqual(session.shown(), { status: "success", data: "new", error: undefined });
  leave();
});

test("a look that is answered after the component has gone changes nothing", async () => {
  let answer!: (known: Known<string>) => void;
  const client = {
    peek: () => new Promise((resolve) => (answer = resolve)),
    subscribe: () => () => {},
  } as unknown as Client;
  const session = new Session<string>(client, "order", undefined);
  session.subscribe(() => {})();
  answer({ status: "done", key: "k", data: "late" });
  await setImmediate();
  assert.equal(session.shown().status, "idle");
});
