/** The HTTP cases on an SQLite file. */
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after } from "node:test";
import { sqliteStore } from "idemp/sqlite";
import { runAll, runAlone } from "./run.js";

const folder = mkdtempSync(join(tmpdir(), "idemp-http-"));
const store = sqliteStore(join(folder, "idempotency.db"));

after(async () => {
  await store.close();
  rmSync(folder, { recursive: true });
});

runAll(() => store);
runAlone(() => store);
