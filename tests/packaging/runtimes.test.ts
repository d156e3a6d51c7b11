// The packed package where JavaScript runs outside of browsers and Node: workerd, Deno, Bun.

import assert from "node:assert/strict";
import { readFile, readdir, rm } from "node:fs/promises";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { build } from "esbuild";
import { Miniflare } from "miniflare";
import { client, esm, EXPECTED, READY, SERVED, served, worker, workerService } from "./consumer.js";
import { project, type Project } from "./project.js";
import { bun, deno } from "./programs.js";

let consumer: Project;

before(async () => {
  consumer = await project({ type: "module" });
  await consumer.borrow("hono");
});

after(() => consumer?.remove());

for (const entry of READY) {
  test(`Deno decides on ${entry}`, async () => {
    assert.equal(await onDeno(esm(entry)), EXPECTED);
  });

  test(`Bun decides on ${entry}`, async () => {
    assert.equal(await onBun(esm(entry)), EXPECTED);
  });

  test(`a worker of workerd decides on ${entry}`, async () => {
    await onWorkerd(worker(entry), async (runtime) => {
      const answer = await runtime.dispatchFetch("http://worker/");
      assert.equal(await answer.text(), EXPECTED);
    });
  });
}

test("Deno serves handlers of requests and routes of Hono behind the middleware", async () => {
  assert.equal(await onDeno(served()), SERVED);
});

test("Bun serves handlers of requests and routes of Hono behind the middleware", async () => {
  assert.equal(await onBun(served()), SERVED);
});

test("Node serves handlers of requests and routes of Hono behind the middleware", async () => {
  const path = await consumer.write("served.js", served());
  assert.equal(await consumer.run(process.execPath, [path]), SERVED);
});

for (const first of ["idemp", "the middleware"] as const) {
  test(`a worker of workerd that imports ${first} first serves them, too`, async () => {
    await onWorkerd(workerService(first), async (runtime) => {
      const send = (path: string, init: RequestInit) => runtime.dispatchFetch(`http://worker${path}`, init as never);
      assert.equal(await client(send), SERVED);
    });
  });
}

async function onDeno(script: string): Promise<string> {
  const path = await consumer.write("deno.js", script);
  // Whatever it would have to download is missing. It may read the project, and no more.
  const words = ["run", "--no-remote", "--cached-only", "--node-modules-dir=manual", "--no-lock", "--no-prompt"];
  const env = { DENO_DIR: join(consumer.folder, ".deno"), DENO_NO_UPDATE_CHECK: "1" };
  return consumer.run(deno(), [...words, "--allow-read=.", path], env);
}

async function onBun(script: string): Promise<string> {
  const path = await consumer.write("bun.js", script);
  return consumer.run(bun(), ["--no-install", "run", path]);
}

async function onWorkerd(script: string, use: (runtime: Miniflare) => Promise<void>): Promise<void> {
  const path = await consumer.write("worker.js", script);
  const outdir = join(consumer.folder, "worker");
  await rm(outdir, { recursive: true, force: true });
  // As its own bundler does it: the conditions of the runtime, and wasm as a module beside.
  await build({
    ...{ entryPoints: [path], outdir, bundle: true, format: "esm", logLevel: "silent" },
    ...{ conditions: ["workerd", "worker", "browser"], loader: { ".wasm": "copy" }, target: "es2022" },
  });
  const modules = await Promise.all(
    (await readdir(outdir)).sort(byScript).map(async (name) => ({
      type: name.endsWith(".wasm") ? ("CompiledWasm" as const) : ("ESModule" as const),
      path: join(outdir, name),
      contents: await readFile(join(outdir, name)),
    })),
  );
  const runtime = new Miniflare({ modules, modulesRoot: outdir, compatibilityDate: "2025-01-01" });
  try {
    await use(runtime);
  } finally {
    await runtime.dispose();
  }
}

/** The script first: it is the one that is run. */
function byScript(a: string, b: string): number {
  return Number(a.endsWith(".wasm")) - Number(b.endsWith(".wasm"));
}
