/** What a page downloads for `idemp` with the IndexedDB store and the client: bundled and minified by
 *  esbuild, compressed by brotli at its best. */
import { readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { brotliCompressSync, constants } from "node:zlib";
import { build } from "esbuild";

const wasm = new URL("../../js/dist/idemp.wasm", import.meta.url);
const script = `
  import { createClient } from "ENTRY";
  import { indexedDbStore } from "STORE";
  globalThis.client = createClient({ user: "user", store: indexedDbStore() });
`;

const rows: [string, Uint8Array, string][] = [
  ["the page: client, IndexedDB store, core", await bundled("idemp/fetch", "idemp/indexeddb"), "asked: 25 kB"],
  ["the core alone, as a file", readFileSync(wasm), "asked: 14 kB"],
  ["the page without its core (idemp/slim)", await bundled("idemp/slim", "idemp/slim"), ""],
  ["the page without WebAssembly (idemp/csp)", await bundled("idemp/csp", "idemp/csp"), ""],
];
console.log(`${"".padEnd(44)}${"minified".padStart(12)}${"brotli".padStart(12)}`);
for (const [name, bytes, bar] of rows) {
  console.log(`${name.padEnd(44)}${kilobytes(bytes.length)}${kilobytes(compressed(bytes))}   ${bar}`);
}

async function bundled(entry: string, store: string): Promise<Uint8Array> {
  const { outputFiles } = await build({
    stdin: {
      contents: script.replace("ENTRY", entry).replace("STORE", store),
      resolveDir: fileURLToPath(new URL(".", import.meta.url)),
    },
    bundle: true,
    minify: true,
    format: "esm",
    target: "es2022",
    conditions: ["browser"],
    write: false,
  });
  return outputFiles[0]!.contents;
}

function compressed(bytes: Uint8Array): number {
  const params = { [constants.BROTLI_PARAM_QUALITY]: 11, [constants.BROTLI_PARAM_LGWIN]: 24 };
  return brotliCompressSync(bytes, { params }).length;
}

function kilobytes(length: number): string {
  return `${(length / 1000).toFixed(1)} kB`.padStart(12);
}
