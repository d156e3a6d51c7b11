// The package with its addon, and without: the same answers, and what is said.

import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { readFile } from "node:fs/promises";
import { homedir } from "node:os";
import { basename, join } from "node:path";
import { after, before, describe, test } from "node:test";
import { promisify } from "node:util";
import { build } from "esbuild";
import { cjs, esm, EXPECTED, sqlite } from "./consumer.js";
import { NODES } from "./nodes.js";
import { bun, deno } from "./programs.js";
import { ADDON, project, ROOT, type Project } from "./project.js";

/** The little program in both forms. */
const ALL = [
  ["by require", "main.cjs", cjs("idemp")],
  ["by import", "main.mjs", esm("idemp")],
] as const;

interface Said {
  readonly stdout: string;
  readonly stderr: string;
}

/** Runs a script of the project; what it says on both channels. */
async function ran(consumer: Project, program: string, words: readonly string[], env: object = {}): Promise<Said> {
  const { IDEMP_BACKEND: _, ...rest } = process.env;
  const { stdout, stderr } = await promisify(execFile)(program, words, {
    ...{ cwd: consumer.folder, env: { ...rest, NO_COLOR: "1", ...env } },
  });
  return { stdout: stdout.trim(), stderr };
}

describe("with the addon", () => {
  let consumer: Project;
  before(async () => {
    consumer = await project({}, { addon: true });
  });
  after(() => consumer?.remove());

  for (const [name, node] of Object.entries(NODES)) {
    for (const [how, file, script] of ALL) {
      test(`${name} takes it ${how}, and says nothing`, async () => {
        const path = await consumer.write(file, script);
        for (const env of [{}, { IDEMP_BACKEND: "native" }]) {
          assert.deepEqual(await ran(consumer, node, [path], env), { stdout: EXPECTED, stderr: "" });
        }
      });

      test(`${name} does without it where it shall, ${how}, and says so once`, async () => {
        const path = await consumer.write(file, script);
        const { stdout, stderr } = await ran(consumer, node, [path], { IDEMP_BACKEND: "wasm" });
        assert.equal(stdout, EXPECTED);
        assert.equal(stderr.match(/IDEMP_WASM/g)?.length, 1, stderr);
      });
    }

    test(`${name} decides on a file`, async () => {
      const path = await consumer.write("file.mjs", sqlite(`${name.replaceAll(" ", "-")}.db`));
      assert.deepEqual(await ran(consumer, node, [path]), { stdout: EXPECTED, stderr: "" });
    });
  }

  test("Bun takes it, and decides on a file", async () => {
    const words = ["--no-install", "run"];
    const memory = await consumer.write("bun.mjs", esm("idemp"));
    const env = { IDEMP_BACKEND: "native" };
    assert.equal((await ran(consumer, bun(), [...words, memory], env)).stdout, EXPECTED);
    const file = await consumer.write("bun-file.mjs", sqlite("bun.db"));
    assert.equal((await ran(consumer, bun(), [...words, file], env)).stdout, EXPECTED);
  });

  test("Deno decides on a file, where it may", async () => {
    const words = ["run", "--no-remote", "--cached-only", "--node-modules-dir=manual", "--no-lock", "--no-prompt"];
    const env = { DENO_DIR: join(consumer.folder, ".deno"), DENO_NO_UPDATE_CHECK: "1" };
    const file = await consumer.write("deno-file.mjs", sqlite("deno.db"));
    const { stdout } = await ran(consumer, deno(), [...words, "--allow-read=.", "--allow-ffi", file], env);
    assert.equal(stdout, EXPECTED);
  });

  test("a bundle for Node finds it in the project, as a module and as CommonJS", async () => {
    // CommonJS waits for nothing at its top.
    const script = esm("idemp", "said.then(console.log);").replace("const said = await", "const said =");
    const path = await consumer.write("bundled.js", script);
    for (const [format, outfile] of [["esm", "bundle.mjs"], ["cjs", "bundle.cjs"]] as const) {
      const whole = join(consumer.folder, outfile);
      await build({ ...{ entryPoints: [path], outfile: whole, bundle: true, format }, ...{ platform: "node", logLevel: "silent" } });
      assert.deepEqual(await ran(consumer, process.execPath, [whole], { IDEMP_BACKEND: "native" }), { stdout: EXPECTED, stderr: "" });
    }
  });

  test("its package runs no script, says which machines it is for, and names no path of this one", async () => {
    const manifest = JSON.parse(await readFile(join(ADDON, "package.json"), "utf8")) as Record<string, unknown>;
    assert.equal(manifest["name"], `@idemp/node-${basename(ADDON)}`);
    assert.deepEqual([manifest["os"], manifest["cpu"]], [[process.platform], [process.arch]]);
    if (process.platform === "linux") assert.deepEqual(manifest["libc"], [basename(ADDON).endsWith("musl") ? "musl" : "glibc"]);
    for (const of of [manifest, JSON.parse(await readFile(join(ROOT, "js/package.json"), "utf8")) as Record<string, unknown>]) {
      assert.equal(of["scripts"], undefined);
      assert.equal(of["dependencies"], undefined);
    }
    const bytes = await readFile(join(ADDON, "idemp.node"), "latin1");
    for (const path of [ROOT, `${homedir()}/`]) assert.ok(!bytes.includes(path), `it names ${path}`);
  });
});

describe("without the addon", () => {
  let consumer: Project;
  before(async () => {
    consumer = await project();
  });
  after(() => consumer?.remove());

  for (const [name, node] of Object.entries(NODES)) {
    for (const [how, file, script] of ALL) {
      test(`${name} decides the same ${how}, and says once that it is slower, and what helps`, async () => {
        const path = await consumer.write(file, script);
        const { stdout, stderr } = await ran(consumer, node, [path]);
        assert.equal(stdout, EXPECTED);
        assert.equal(stderr.match(/IDEMP_WASM/g)?.length, 1, stderr);
        assert.match(stderr, /install @idemp\/node-/);
      });
    }
  }

  test("where it is demanded, and where a file is opened, the error says what to install", async () => {
    const path = await consumer.write(
      "demanding.mjs",
      `import { fingerprintOf } from "idemp";
       import { sqliteStore } from "idemp/sqlite";
       for (const ask of [() => fingerprintOf(1), () => sqliteStore("idemp.db")]) {
         try { ask(); } catch (error) { console.log(error.code, error.message); }
       }`,
    );
    const { stdout } = await ran(consumer, process.execPath, [path], { IDEMP_BACKEND: "native" });
    const lines = stdout.split("\n");
    assert.equal(lines.length, 2, stdout);
    for (const line of lines) assert.match(line, /^NATIVE_UNAVAILABLE .* install @idemp\/node-/);
  });

  test("Bun decides the same", async () => {
    const path = await consumer.write("bun.mjs", esm("idemp"));
    assert.equal((await ran(consumer, bun(), ["--no-install", "run", path])).stdout, EXPECTED);
  });
});

test("the package of another machine is left out by npm, and nothing fails", async () => {
  const consumer = await project();
  try {
    await consumer.write("other/package.json", JSON.stringify({ name: "@idemp/node-other", version: "0.1.0", os: ["aix"], cpu: ["ppc"] }));
    const other = await consumer.run("npm", ["pack", "./other", "--silent"]);
    const manifest = JSON.parse(await readFile(join(consumer.folder, "package.json"), "utf8")) as object;
    const optionalDependencies = { "@idemp/node-other": `file:${other}` };
    await consumer.write("package.json", JSON.stringify({ ...manifest, optionalDependencies }));
    await consumer.run("npm", ["install", "--offline", "--no-audit", "--no-fund", "--no-package-lock"]);
    const path = await consumer.write("main.mjs", esm("idemp"));
    assert.equal((await ran(consumer, process.execPath, [path])).stdout, EXPECTED);
    await assert.rejects(readFile(join(consumer.folder, "node_modules/@idemp/node-other/package.json")));
  } finally {
    await consumer.remove();
  }
});
