/** The service, on a port of this machine. */
import { once } from "node:events";
import type { AddressInfo } from "node:net";
import { createIdempotency } from "idemp";
import { jsonLabel, logEvents } from "idemp/events";
import { videoService } from "./app.js";
import { Database } from "./database.js";
import { UsageError, optionsOf, retention } from "./options.js";
import { stopped } from "./stop.js";
import { openStore } from "./store.js";

const USAGE = `\
usage: npm start -w idemp-express-video-tasks -- [--port N] [--store URL] [--tasks FILE] [--stop-at-eof]

  --port N        listen on this port of 127.0.0.1; by default PORT, else a free one
  --store URL     where the idempotency keys are: memory, sqlite:PATH, postgres://... or
                  redis://...; by default STORE, else sqlite:idempotency.db
  --tasks FILE    where the tasks are; by default video-tasks.jsonl
  --stop-at-eof   stop when the standard input ends, so that nobody who starts it leaves it behind

  IDEMPOTENCY_TTL_HOURS   how long the outcome of a create is replayed, 24 by default
`;

/** After a stop, connections and owners have this long to end, in milliseconds. */
const GRACE = 30_000;

async function main(): Promise<void> {
  const options = optionsOf(["port", "store", "tasks", "stop-at-eof"], USAGE);
  const kept = retention();
  const { store, close } = await openStore(options.store);
  const database = new Database(options.tasks);
  const idem = createIdempotency({
    store,
    retention: kept,
    onEvent: logEvents((line) => console.error(line)),
    label: jsonLabel("task_id"),
  });
  const service = videoService(idem, database);
  const server = service.app.listen(options.port, "127.0.0.1");
  await once(server, "listening");
  // Before the line, so that whoever reads it can stop the service at once.
  const stop = stopped(options.stopAtEof);
  console.log(`listening on http://127.0.0.1:${(server.address() as AddressInfo).port}`);
  await stop;
  // It accepts nothing more, and ends when what it accepted is answered and every owner is done, also of
  // clients that are gone.
  setTimeout(() => process.exit(1), GRACE).unref();
  server.close();
  server.closeIdleConnections();
  await once(server, "close");
  await service.idle();
  await close();
  database.close();
}

main().catch((error: unknown) => {
  const misused = error instanceof UsageError;
  console.error(misused ? `${error.message}\n\n${USAGE}` : `express-video-tasks: ${String(error)}`);
  process.exit(misused ? 2 : 1);
});
