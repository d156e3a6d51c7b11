/** What a test starts to kill it: begins, orders, finishes and commits, one step for each line it gets. */
import { createInterface } from "node:readline";
import { createIdempotency, fingerprintOf } from "idemp";
import { postgresStore, within } from "idemp/postgres";
import { CLIENTS } from "./postgres-clients.js";

const [label, url, table] = process.argv.slice(2) as [keyof typeof CLIENTS, string, string];
const connected = await CLIENTS[label](url);
const store = postgresStore(connected.client, { table });
const idem = createIdempotency({ store });
const lines = createInterface(process.stdin)[Symbol.asyncIterator]();

async function reached(step: string): Promise<void> {
  console.log(step);
  if ((await lines.next()).done) process.exit(1);
}

await connected.transaction(async (tx, run) => {
  const inside = within(idem, store.withTransaction(tx));
  const decision = await inside.begin(["tenant-1", "POST /orders"], "k", fingerprintOf({ item: "a bicycle" }));
  if (decision.type !== "miss") throw new Error(decision.type);
  await run(`INSERT INTO ${table}_orders VALUES (1)`);
  await reached("begun");
  await decision.lease.finish(Buffer.from("outcome"));
  await reached("finished");
});
await reached("committed");
