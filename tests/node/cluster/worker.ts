/** A worker of the cluster: an Express service whose work fails, stalls, and is killed. */
import { randomUUID } from "node:crypto";
import { setTimeout as sleep } from "node:timers/promises";
import express from "express";
import { createIdempotency } from "idemp";
import { idempotent } from "idemp/express";
import { dice } from "../dice.js";
import { note, now } from "./ledger.js";
import { storeAt } from "./store.js";

const { CLUSTER_STORE = "", CLUSTER_LEDGER = "", CLUSTER_LEASE = "", CLUSTER_SEED = "" } = process.env;
const lease = Number(CLUSTER_LEASE);
const chance = dice(Number(CLUSTER_SEED));

const idem = createIdempotency({ store: await storeAt(CLUSTER_STORE), lease });
const app = express();
app.use(idempotent(idem, { scope: () => "cluster", required: true }));
app.post("/things", express.json(), async (request, response) => {
  const { key } = request.body as { key: string };
  const execution = request.idempotency;
  if (!execution) throw new Error("a request with a key has an execution");
  const { attempt, fence } = execution;
  const [outcome, takes, fate] = [randomUUID(), chance.below(60), chance.roll()];
  const remaining = execution.remaining();
  note(CLUSTER_LEDGER, {
    ...{ type: "executed", key, attempt, fence: String(fence), at: now(), remaining, outcome },
    worker: process.pid,
  });
  // Killed at work, while the answer is stored, or while it is on its way.
  if (fate < 0.12) setTimeout(() => process.kill(process.pid, "SIGKILL"), chance.below(takes + 10));
  await sleep(takes);
  if (fate > 0.95) stall(lease * 1.5);
  if (fate > 0.85 && fate < 0.95) {
    note(CLUSTER_LEDGER, { type: "failing", key, attempt, at: now() });
    response.status(500).json({ code: "BROKEN" });
    return;
  }
  response.status(201).json({ outcome, attempt, fence: String(fence) });
});
app.listen(Number(process.env["CLUSTER_PORT"]), "127.0.0.1");

/** Does nothing, and lets nothing else be done: no lease is kept alive meanwhile. */
function stall(milliseconds: number): void {
  Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, milliseconds);
}
