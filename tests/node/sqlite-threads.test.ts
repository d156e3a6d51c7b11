/** Threads of one process on one file: each loads the addon for itself. */
import assert from "node:assert/strict";
import { on } from "node:events";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, test } from "node:test";
import { Worker } from "node:worker_threads";
import { createIdempotency, fingerprintJson } from "idemp";
import { sqliteStore } from "idemp/sqlite";

const folder = mkdtempSync(join(tmpdir(), "idemp-threads-"));
after(() => rmSync(folder, { recursive: true, force: true }));

/** Executes one key after the other, without end. */
const THREAD = `
  const { parentPort, workerData } = require("node:worker_threads");
  const load = require("node:module").createRequire(workerData.from);
  const { createIdempotency, fingerprintJson } = load("idemp");
  const idem = createIdempotency({ store: load("idemp/sqlite").sqliteStore(workerData.file) });
  (async () => {
    for (let number = 0; ; number++) {
      const begun = idem.begin(["tenant-7"], workerData.name + "-" + number, fingerprintJson("1"));
      parentPort.postMessage(number);
      const decision = await begun;
      if (decision.type === "miss") await decision.lease.finish(new Uint8Array(10));
    }
  })();
`;

/** Waits until a thread has got so far. */
async function reaches(thread: Worker, number: number): Promise<void> {
  for await (const [reached] of on(thread, "message")) if ((reached as number) >= number) return;
}

test("threads share a file, and one that is ended in the middle takes nobody along", async () => {
  const file = join(folder, "idemp.db");
  const start = (name: string) => new Worker(THREAD, { eval: true, workerData: { file, name, from: import.meta.filename } });
  const [first, second] = [start("a"), start("b")];
  await Promise.all([reaches(first, 20), reaches(second, 20)]);
  await first.terminate();
  await reaches(second, 60);
  await second.terminate();
  const store = sqliteStore(file);
  const idem = createIdempotency({ store });
  for (const key of ["a-10", "b-10", "b-50"]) {
    assert.equal((await idem.begin(["tenant-7"], key, fingerprintJson("1"))).type, "hit", key);
  }
  await store.close();
});
