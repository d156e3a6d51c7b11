// The packed package in Node: this one and a newer one, by `require` and by `import`.

import assert from "node:assert/strict";
import { readdir, readFile } from "node:fs/promises";
import { join, relative } from "node:path";
import { after, before, test } from "node:test";
import { cjs, esm, EXPECTED, MODULES, READY, slim } from "./consumer.js";
import { NODES } from "./nodes.js";
import { project, ROOT, type Project } from "./project.js";

let consumer: Project;

before(async () => {
  consumer = await project();
  for (const name of ["react", "@opentelemetry/api"]) await consumer.borrow(name);
  await consumer.write("strict.cjs", "delete globalThis.WebAssembly;");
});

after(() => consumer?.remove());

test("each newer Node is newer, and this one is not older than promised", async () => {
  const major = async (node: string) => Number(/^v(\d+)/.exec(await consumer.run(node, ["--version"]))?.[1]);
  const [own, ...newer] = await Promise.all(Object.values(NODES).map(major));
  assert.ok(own! >= 20);
  assert.ok(newer.length > 0 && newer.every((one) => one >= 22));
});

for (const [name, node] of Object.entries(NODES)) {
  for (const entry of READY) {
    test(`${name} decides by require of ${entry}`, async () => {
      const path = await consumer.write("main.cjs", cjs(entry));
      assert.equal(await consumer.run(node, [...options(entry), path]), EXPECTED);
    });

    test(`${name} decides by import of ${entry}`, async () => {
      const path = await consumer.write("main.mjs", esm(entry));
      assert.equal(await consumer.run(node, [...options(entry), path]), EXPECTED);
    });
  }

  test(`${name} decides on the entry that is given its wasm, as a file of the package`, async () => {
    const imports = `
      import { readFile } from "node:fs/promises";
      import { createRequire } from "node:module";
    `;
    const wasm = `await readFile(createRequire(import.meta.url).resolve("idemp/idemp.wasm"))`;
    const path = await consumer.write("slim.mjs", slim(imports, wasm));
    assert.equal(await consumer.run(node, [path]), EXPECTED);
  });

  for (const [module, named] of Object.entries(MODULES)) {
    test(`${name} gets ${module} by require and by import, with the same names`, async () => {
      const required = await consumer.write(
        "module.cjs",
        `console.log(Object.keys(require(${JSON.stringify(module)})).sort().join())`,
      );
      const imported = await consumer.write(
        "module.mjs",
        `import * as module from ${JSON.stringify(module)};
         const names = Object.keys(module).filter((name) => name !== "default" && name !== "module.exports");
         console.log(names.sort().join())`,
      );
      const names = (await consumer.run(node, [imported])).split(",");
      assert.ok(names.includes(named), names.join());
      const ofRequire = (await consumer.run(node, [required])).split(",");
      assert.deepEqual(ofRequire.filter((one) => one !== "__esModule"), names);
    });
  }
}

test("CommonJS looks for the addon where an import does", async () => {
  const opens = `try { sqliteStore(process.argv[2]); console.log("opened"); } catch ({ message }) { console.log(message); }`;
  const required = await consumer.write("sqlite.cjs", `const { sqliteStore } = require("idemp/sqlite"); ${opens}`);
  const imported = await consumer.write("sqlite.mjs", `import { sqliteStore } from "idemp/sqlite"; ${opens}`);
  const [one, other] = [await consumer.run(process.execPath, [required, "one.db"]), await consumer.run(process.execPath, [imported, "other.db"])];
  assert.equal(one, other);
  // Where the package of the platform is not installed, that is what is said.
  assert.match(one, /^opened$|: install @idemp/);
});

test("a process that has both forms of the package gets one fingerprint from them", async () => {
  const path = await consumer.write(
    "both.mjs",
    `import { createRequire } from "node:module";
     import { fingerprintOf } from "idemp";
     const other = createRequire(import.meta.url)("idemp");
     console.log(fingerprintOf({ a: 1 }) === other.fingerprintOf({ a: 1 }));`,
  );
  assert.equal(await consumer.run(process.execPath, [path]), "true");
});

test("the archive holds what is built, and neither sources of tests nor a path of this machine", async () => {
  const installed = join(consumer.folder, "node_modules/idemp");
  const found = await readdir(installed, { recursive: true, withFileTypes: true });
  const files = found.filter((one) => one.isFile()).map((one) => relative(installed, join(one.parentPath, one.name)));
  assert.ok(files.includes("package.json"));
  for (const file of files) {
    assert.match(file, /^(dist\/|package\.json$|README|LICENSE|CHANGELOG)/);
    assert.doesNotMatch(file, /\.test\.|tsbuildinfo/);
    const text = await readFile(join(installed, file), "latin1");
    assert.ok(!text.includes(ROOT), `${file} names ${ROOT}`);
    assert.doesNotMatch(text, /["'`](\/home\/|\/root\/|\/Users\/|file:\/\/\/)/, file);
  }
  const manifest = JSON.parse(await readFile(join(installed, "package.json"), "utf8")) as object;
  assert.ok(!("dependencies" in manifest), "it depends on something at run time");
});

/** The entry for strict pages has to do without WebAssembly. */
function options(entry: string): string[] {
  return entry === "idemp/csp" ? ["--require", "./strict.cjs"] : [];
}
