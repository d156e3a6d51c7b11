/** A process that wants every key executed, on the file that it is given: see `sqlite-processes.test.ts`.
 *  Each execution is a line in the log, before its outcome is stored. */
import "../../src/core/node.js";
import { appendFileSync } from "node:fs";
import { setTimeout as sleep } from "node:timers/promises";
import { fingerprintJson } from "../../src/core/fingerprint.js";
import { createIdempotency } from "../../src/idempotency.js";
import { sqliteStore } from "../../src/stores/sqlite.js";

const [file, log, keys, name, ends] = process.argv.slice(2) as [string, string, string, string, string];
const store = sqliteStore(file);
const idem = createIdempotency({ store, lease: "2s" });
const payload = fingerprintJson('{"a":1}');

async function outcomeOf(key: string): Promise<string> {
  for (;;) {
    const decision = await idem.begin(["tenant-7"], key, payload);
    if (decision.type === "hit") return Buffer.from(decision.replay.outcome).toString();
    if (decision.type === "in-progress") {
      await sleep(Math.min(50, decision.other.remaining));
      continue;
    }
    if (decision.type !== "miss") throw new Error(decision.type);
    const { lease } = decision;
    appendFileSync(log, `${key} ${lease.attempt} ${name}\n`);
    process.send?.({ attempt: lease.attempt });
    // One that is to be killed is found in the middle, however long that takes.
    await sleep(ends === "killed" ? 600_000 : 5);
    await lease.finish(Buffer.from(`${key} by ${name}`));
  }
}

const all = Array.from({ length: Number(keys) }, (_, number) => `key-${number}`);
const outcomes = await Promise.all(all.map(outcomeOf));
process.send?.({ outcomes });
await store.close();
process.disconnect?.();
