/** Which core runs in Node, and what is said of it. */

import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { text } from "node:stream/consumers";
import { test } from "node:test";

const source = (path: string) => JSON.stringify(new URL(`../src/${path}.ts`, import.meta.url));

interface Ran {
  readonly said: string;
  readonly complaints: string;
}

/** Runs a script that has the package, in a process of its own. */
async function run(script: string, backend?: string): Promise<Ran> {
  const whole = `
    import ${source("core/node")};
    import { createIdempotency } from ${source("idempotency")};
    import { fingerprintJson } from ${source("core/fingerprint")};
    import { memoryStore } from ${source("stores/memory")};
    import { sqliteStore } from ${source("stores/sqlite")};
    ${script}`;
  const { IDEMP_BACKEND: _, ...rest } = process.env;
  const words = ["--import", "tsx", "--input-type=module", "--eval", whole];
  const child = spawn(process.execPath, words, {
    cwd: new URL("..", import.meta.url),
    env: { ...rest, ...(backend !== undefined && { IDEMP_BACKEND: backend }) },
  });
  const [said, complaints] = await Promise.all([text(child.stdout), text(child.stderr), once(child, "exit")]);
  return { said: said.trim(), complaints };
}

/** Decides on the memory store, twice over, and says which one that was. */
const DECIDE = `
  const store = memoryStore();
  const idem = createIdempotency({ store });
  const payload = fingerprintJson('{"a": 1}');
  const first = await idem.begin(["s"], "k", payload);
  await first.lease.finish(new Uint8Array([0, 255]));
  const again = await idem.begin(["s"], "k", payload);
  fingerprintJson("[]");
  memoryStore();
  console.log(store.constructor.name, first.type, again.type, again.replay.outcome.join(), payload.slice(0, 6));
`;

const OTHER_MACHINE = `Object.defineProperty(process, "arch", { value: "mips" });`;

test("the addon is taken where it is there, and nothing is said", async () => {
  for (const backend of [undefined, "native", ""]) {
    assert.deepEqual(await run(DECIDE, backend), { said: "NativeMemory miss hit 0,255 011495", complaints: "" });
  }
});

test("an empty text is no fingerprint, also where none was made yet", async () => {
  const begin = `
    const idem = createIdempotency({ store: memoryStore() });
    console.log(await idem.begin(["s"], "k", "").then(({ type }) => type, ({ code }) => code));`;
  for (const backend of ["native", "wasm"]) assert.equal((await run(begin, backend)).said, "MALFORMED", backend);
});

test("WebAssembly takes over where it is asked for, with the same answers, and says so once", async () => {
  const { said, complaints } = await run(DECIDE, "wasm");
  assert.equal(said, "Object miss hit 0,255 011495");
  assert.equal(complaints.match(/IDEMP_WASM/g)?.length, 1, complaints);
  assert.match(complaints, /since IDEMP_BACKEND says so/);
});

test("WebAssembly takes over on a machine that there is no addon for, and says so once", async () => {
  const { said, complaints } = await run(OTHER_MACHINE + DECIDE);
  assert.equal(said, "Object miss hit 0,255 011495");
  assert.equal(complaints.match(/IDEMP_WASM/g)?.length, 1, complaints);
  assert.match(complaints, /there is none for \w+ on mips/);
});

test("the addon that is demanded and not there is an error, and so is a word that means nothing", async () => {
  const failing = `
    try { await (async () => { ${DECIDE} })(); } catch (error) { console.log(error.name, error.code, error.message); }
  `;
  const missing = await run(OTHER_MACHINE + failing, "native");
  assert.match(missing.said, /^IdempError NATIVE_UNAVAILABLE IDEMP_BACKEND=native needs the addon of idemp: there is none for/);
  assert.equal(missing.complaints, "");
  const wrong = await run(failing, "rust");
  assert.match(wrong.said, /^IdempError BACKEND_INVALID IDEMP_BACKEND is native or wasm/);
});

test("there is no SQLite without the addon, whatever core decides the rest", async () => {
  const open = `
    try { console.log(typeof sqliteStore("/nowhere/of.db")); } catch (error) { console.log(error.name, error.code, error.message); }
  `;
  assert.match((await run(OTHER_MACHINE + open)).said, /^IdempError NATIVE_UNAVAILABLE sqliteStore needs the addon of idemp: there is none/);
  assert.match((await run(open, "wasm")).said, /^StoreError STORE_UNUSABLE/);
});

test("a store with a clock of its own is the one in JavaScript", async () => {
  const { said } = await run("console.log(memoryStore({ now: () => 0 }).constructor.name, memoryStore({ capacity: 5 }).constructor.name)");
  assert.equal(said, "Object NativeMemory");
});

test("a processor without SIMD decides, and learns at once that middleware needs the addon", async () => {
  const { said } = await run(`
    WebAssembly.validate = () => false; // as there
    const { idempotent } = await import(${source("express/index")});
    ${DECIDE}
    try { idempotent(idem, { scope: () => ["s"] }); } catch (error) { console.log(error.code, error.message); }`, "wasm");
  assert.match(said, /^Object miss hit 0,255 011495\nCORE_WITHOUT_HTTP .*lacks SIMD: install the addon/);
});
