/**
 * The worker: a process of its own that ends analyses which the service has started. It has nothing of
 * the service but the file of tasks, where the token of each lease is, and the store.
 */
import { setTimeout as sleep } from "node:timers/promises";
import { createIdempotency } from "idemp";
import { Analyses } from "./analyses.js";
import { Database } from "./database.js";
import { UsageError, optionsOf } from "./options.js";
import { stopped } from "./stop.js";
import { openStore } from "./store.js";

const USAGE = `\
usage: npm run worker -w idemp-express-video-tasks -- [--store URL] [--tasks FILE] [--takes MS] [--fail]
                                                      [--once] [--stop-at-eof]

  --store URL     where the service has its idempotency keys; by default STORE, else
                  sqlite:idempotency.db
  --tasks FILE    where the service has its tasks; by default video-tasks.jsonl
  --takes MS      how long it works on an analysis, 2000 by default
  --fail          every analysis fails
  --once          end what is at work now, and stop
  --stop-at-eof   stop when the standard input ends, so that nobody who starts it leaves it behind
`;

/** How often it looks for work, in milliseconds. */
const LOOK_EVERY = 100;

async function main(): Promise<void> {
  const options = optionsOf(["store", "tasks", "takes", "fail", "once", "stop-at-eof"], USAGE);
  if (options.store === "memory") {
    throw new UsageError("the keys in the memory of the service are in no other process: choose another store");
  }
  const { store, close } = await openStore(options.store);
  const database = new Database(options.tasks);
  const analyses = new Analyses(createIdempotency({ store }), database);
  let going = !options.once;
  void stopped(options.stopAtEof).then(() => (going = false));
  for (;;) {
    const [next] = database.atWork();
    if (!next && !going) break;
    if (!next) {
      await sleep(LOOK_EVERY);
      continue;
    }
    // The work. The lease of an analysis lives for as long as one may be active: there is nothing to
    // renew. With a shorter one, `idem.resume(next.lease).renew()` goes here.
    await sleep(options.takes);
    try {
      const ended = await analyses.end(next.task_id, options.end);
      console.log(`${next.task_id} ${ended?.status ?? "withdrawn"}`);
    } catch (error) {
      // Whether it has ended is not known, so it is ended again.
      console.error(`worker: ${next.task_id} is still at work: ${String(error)}`);
      await sleep(LOOK_EVERY);
    }
  }
  await close();
  database.close();
  process.exit();
}

main().catch((error: unknown) => {
  const misused = error instanceof UsageError;
  console.error(misused ? `${error.message}\n\n${USAGE}` : `worker: ${String(error)}`);
  process.exit(misused ? 2 : 1);
});
