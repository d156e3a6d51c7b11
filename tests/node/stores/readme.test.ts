/** What the README shows of the stores compiles, with the clients' own types. */
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";
import { fileURLToPath } from "node:url";
import ts from "typescript";

const FOLDER = fileURLToPath(new URL(".", import.meta.url));

test("what the README shows of the stores compiles", () => {
  const readme = readFileSync(new URL("../../../js/README.md", import.meta.url), "utf8");
  const section = /^## Stores$[^]*?(?=^## )/m.exec(readme)?.[0] ?? "";
  const blocks = [...section.matchAll(/```ts\n([^]*?)```/g)].map(([, block]) => block as string);
  assert.ok(blocks.length >= 5);
  const files = new Map(blocks.map((block, at) => [`${FOLDER}readme-${at}.mts`, `${block}\nexport {};`]));
  const { config } = ts.readConfigFile(`${FOLDER}../../../js/tsconfig.json`, ts.sys.readFile);
  const { options } = ts.convertCompilerOptionsFromJson(config.compilerOptions, FOLDER);
  const host = ts.createCompilerHost(options);
  const { fileExists, readFile, getSourceFile } = host;
  host.fileExists = (name) => files.has(name) || fileExists(name);
  host.readFile = (name) => files.get(name) ?? readFile(name);
  host.getSourceFile = (name, target, ...more) => {
    const text = files.get(name);
    return text === undefined ? getSourceFile(name, target, ...more) : ts.createSourceFile(name, text, target);
  };
  const program = ts.createProgram([...files.keys()], { ...options, noUnusedLocals: false }, host);
  const wrong = ts.getPreEmitDiagnostics(program);
  assert.equal(ts.formatDiagnostics(wrong, { ...host, getCanonicalFileName: (name) => name }), "");
});
