// `node bindings-node/build/packages.mjs TARGET…`: the npm package of each target, in target/npm, as
// it is published: the manifest of bindings-node/npm/TARGET, what was built, and the licences.
//
// `os`, `cpu` and `libc` are added here. In the workspace they would keep npm from installing it on
// every machine but one.
import { copyFileSync, mkdirSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";

const root = fileURLToPath(new URL("../..", import.meta.url));
const targets = process.argv.slice(2);
if (targets.length === 0) throw new Error("for which targets?");

for (const name of targets) {
  const from = join(root, "bindings-node/npm", name);
  const to = join(root, "target/npm", name);
  const { target, ...manifest } = JSON.parse(readFileSync(join(from, "package.json"), "utf8"));
  const { os, cpu, libc } = target;
  rmSync(to, { recursive: true, force: true });
  mkdirSync(to, { recursive: true });
  const published = { ...manifest, os, cpu, ...(libc && { libc }) };
  writeFileSync(join(to, "package.json"), JSON.stringify(published, null, 2) + "\n");
  writeFileSync(
    join(to, "README.md"),
    `# ${manifest.name}\n\nThe addon of [idemp](https://www.npmjs.com/package/idemp) for ${target.rust}. ` +
      "It comes along with that package, on the platforms that it is for.\n",
  );
  for (const licence of ["LICENSE-APACHE", "LICENSE-MIT"]) copyFileSync(join(root, licence), join(to, licence));
  copyFileSync(join(from, manifest.main), join(to, manifest.main));
  const size = statSync(join(to, manifest.main)).size;
  console.log(`target/npm/${name}: ${manifest.name} ${manifest.version}, ${(size / 1e6).toFixed(1)} MB`);
}
