// `node js/build/package.mjs`: js/src becomes js/dist, file by file, as ES modules and as CommonJS,
// each with its types. Nothing is bundled: whoever bundles takes what is needed, and every entry
// shares the one core.
import { execFileSync } from "node:child_process";
import { copyFileSync, cpSync, mkdirSync, readFileSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { createRequire } from "node:module";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { transform } from "esbuild";

const root = fileURLToPath(new URL("..", import.meta.url));
const [source, dist] = [join(root, "src"), join(root, "dist")];
const formats = ["esm", "cjs"];

rmSync(dist, { recursive: true, force: true });
const files = readdirSync(source, { recursive: true }).map(String);
for (const format of formats) {
  for (const file of files.filter((file) => /\.(ts|tsx|js)$/.test(file) && !file.endsWith(".d.ts"))) {
    const to = join(dist, format, file.replace(/\.tsx?$/, ".js"));
    mkdirSync(dirname(to), { recursive: true });
    writeFileSync(to, await converted(file, format));
  }
}
// What lies under cjs is CommonJS, and finds its core by conditions of its own.
const conditions = Object.entries(JSON.parse(readFileSync(join(root, "package.json"), "utf8")).imports["#core"]);
const cores = conditions.map(([condition, { require }]) => [condition, require.replace("/dist/cjs/", "/")]);
const cjs = { type: "commonjs", imports: { "#core": Object.fromEntries(cores) } };
writeFileSync(join(dist, "cjs/package.json"), `${JSON.stringify(cjs)}\n`);
const tsc = join(dirname(createRequire(import.meta.url).resolve("typescript/package.json")), "bin/tsc");
const declarations = ["--noEmit", "false", "--declaration", "--emitDeclarationOnly", "--stripInternal"];
const to = join(dist, "esm");
execFileSync(process.execPath, [tsc, "-p", join(root, "tsconfig.package.json"), ...declarations, "--outDir", to], {
  stdio: "inherit",
});
for (const file of files.filter((file) => file.endsWith(".d.ts"))) copyFileSync(join(source, file), join(to, file));
cpSync(to, join(dist, "cjs"), { recursive: true, filter: (file) => !file.endsWith(".js") && !file.endsWith(".json") });
for (const name of ["idemp.wasm"]) copyFileSync(join(source, "generated", name), join(dist, name));

async function converted(file, format) {
  const generated = file.startsWith("generated");
  const loader = /\.tsx?$/.exec(file)?.[0].slice(1) ?? "js";
  const options = { format, loader, target: "es2022", jsx: "automatic", minify: generated, charset: "utf8" };
  return (await transform(readFileSync(join(source, file), "utf8"), options)).code;
}
