// `node js/build/stores.mjs`: the Lua and the SQL of the Rust crates become js/src/generated, so that
// both languages send the same text. Nothing is compiled for it: the crates include the same files.
import { createHash } from "node:crypto";
import { mkdirSync, readFileSync, readdirSync, writeFileSync } from "node:fs";
import { dirname } from "node:path";
import { fileURLToPath } from "node:url";

const crates = new URL("../../stores/", import.meta.url);
const text = (file) => readFileSync(new URL(file, crates), "utf8");

// What begins a new record is refused where memory is full; what replaces one is not. The same two
// scripts as in the crate, so that a server keeps them once for all clients.
const replace = text("redis/lua/swap.lua");
const claim = replace.replace(" flags=allow-oom", "");
if (claim === replace) throw new Error("the script names its flags in another way now");
write("redis", { REPLACE: script(replace), CLAIM: script(claim) }, "{ readonly text: string; readonly sha: string }");

const migrations = readdirSync(new URL("postgres/sql", crates)).filter((name) => /^\d{4}_/.test(name)).sort();
const sql = Object.fromEntries(
  ["claim", "swap", "swap_within", "purge"].map((name) => [name.toUpperCase(), statement(text(`postgres/sql/${name}.sql`))]),
);
write("postgres", sql, "string");
write("migrations", { MIGRATIONS: migrations.map((name) => text(`postgres/sql/${name}`)) }, "readonly string[]");

function script(text) {
  return { text, sha: createHash("sha1").update(text).digest("hex") };
}

/** What is sent: without the comments above it. */
function statement(text) {
  const lines = text.trim().split("\n");
  return lines.filter((line) => !line.startsWith("--")).join(" ");
}

function write(name, values, type) {
  const to = fileURLToPath(new URL(`../src/generated/${name}`, import.meta.url));
  mkdirSync(dirname(to), { recursive: true });
  const names = Object.keys(values);
  writeFileSync(`${to}.js`, names.map((name) => `export const ${name} = ${JSON.stringify(values[name])};\n`).join(""));
  writeFileSync(`${to}.d.ts`, names.map((name) => `export const ${name}: ${type};\n`).join(""));
}
