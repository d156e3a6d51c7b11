// `node js/build/package.mjs`: js/src becomes js/dist, file by file, as ES modules and as CommonJS
// (`.cjs`, so that one manifest tells both how to find the core), each with its types. Nothing is
// bundled: whoever bundles takes what is needed, and every entry shares the one core.
import { execFileSync } from "node:child_process";
import { copyFileSync, mkdirSync, readFileSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { createRequire } from "node:module";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { transform } from "esbuild";
import "./stores.mjs";

const root = fileURLToPath(new URL("..", import.meta.url));
const [source, dist] = [join(root, "src"), join(root, "dist")];
const formats = ["esm", "cjs"];

rmSync(dist, { recursive: true, force: true });
const files = readdirSync(source, { recursive: true }).map(String);
for (const format of formats) {
  for (const file of files.filter((file) => /\.(ts|tsx|js)$/.test(file) && !file.endsWith(".d.ts"))) {
    const to = join(dist, format, named(file.replace(/\.tsx?$/, ".js"), format));
    mkdirSync(dirname(to), { recursive: true });
    writeFileSync(to, await converted(file, format));
  }
}
const tsc = join(dirname(createRequire(import.meta.url).resolve("typescript/package.json")), "bin/tsc");
const declarations = ["--noEmit", "false", "--declaration", "--emitDeclarationOnly", "--stripInternal"];
const to = join(dist, "esm");
execFileSync(process.execPath, [tsc, "-p", join(root, "tsconfig.package.json"), ...declarations, "--outDir", to], {
  stdio: "inherit",
});
for (const file of files.filter((file) => file.endsWith(".d.ts"))) copyFileSync(join(source, file), join(to, file));
for (const file of readdirSync(to, { recursive: true }).map(String).filter((file) => file.endsWith(".d.ts"))) {
  // It runs something, and so it has no types: what resolves types need not find it.
  const types = readFileSync(join(to, file), "utf8").replaceAll(/import "#(server-)?core";\n/g, "");
  writeFileSync(join(to, file), types);
  writeFileSync(join(dist, "cjs", named(file, "cjs")), renamed(types));
}
for (const name of ["idemp.wasm", "fast.wasm"]) copyFileSync(join(source, "generated", name), join(dist, name));

async function converted(file, format) {
  const generated = file.startsWith("generated");
  const loader = /\.tsx?$/.exec(file)?.[0].slice(1) ?? "js";
  const options = { format, loader, target: "es2022", jsx: "automatic", minify: generated, charset: "utf8" };
  // What finds its neighbours by where it lies.
  if (format === "cjs") options.define = { "import.meta.url": "__filename" };
  const { code } = await transform(readFileSync(join(source, file), "utf8"), options);
  return format === "cjs" ? renamed(code) : code;
}

/** `index.js` as CommonJS is `index.cjs`, and its types are `index.d.cts`. */
function named(file, format) {
  return format === "cjs" ? file.replace(/\.(js|d\.ts)$/, (_, kind) => (kind === "js" ? ".cjs" : ".d.cts")) : file;
}

/** With the names of neighbours as CommonJS has them. */
function renamed(code) {
  return code.replace(/((?:from|import|require\()\s*"\.[^"]*)\.js"/g, '$1.cjs"');
}
