// `node js/build/machine.mjs FOLDER`: what wasm-bindgen left in FOLDER becomes js/src/generated:
// the WebAssembly, optimised; its bytes in a script; the glue; and the same without WebAssembly.
import { execFileSync } from "node:child_process";
import { mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { createRequire } from "node:module";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";

const from = process.argv[2];
const to = fileURLToPath(new URL("../src/generated", import.meta.url));
const binaryen = join(dirname(createRequire(import.meta.url).resolve("binaryen/package.json")), "bin");
const tool = (name, ...args) => execFileSync(process.execPath, [join(binaryen, name), ...args]);

mkdirSync(to, { recursive: true });

// What every engine has that has BigInt, and no more.
const features = ["bulk-memory", "bulk-memory-opt", "mutable-globals", "nontrapping-float-to-int", "sign-ext"];
const enabled = features.map((feature) => `--enable-${feature}`);
const wasm = join(to, "idemp.wasm");
tool("wasm-opt", join(from, "idemp_bg.wasm"), "-Oz", "--converge", "--strip-producers", ...enabled, "-o", wasm);

const lowered = join(to, "lowered.wasm");
const lowering = ["--llvm-memory-copy-fill-lowering", "--signext-lowering", "-Oz"];
tool("wasm-opt", wasm, ...lowering, ...enabled, "-o", lowered);
const translated = tool("wasm2js", "-O", lowered).toString();
write("without-wasm.js", translated, "export const memory: unknown;\n");

// A memory that has grown is another buffer. WebAssembly empties the old one, what is translated
// leaves it as it was: so the glue is to look at the buffer, and not at its length.
const glue = readFileSync(join(from, "idemp_bg.js"), "utf8");
const stale = "cachedUint8ArrayMemory0.byteLength === 0";
if (glue.split(stale).length !== 2) throw new Error("wasm-bindgen writes its glue in another way now");
write(
  "glue.js",
  glue.replace(stale, "cachedUint8ArrayMemory0.buffer !== wasm.memory.buffer"),
  `export function call(question: number, bytes: Uint8Array): Uint8Array<ArrayBuffer>;
export function __wbg_set_wasm(exports: unknown): void;
`,
);

const bytes = readFileSync(wasm).toString("base64");
write("bytes.js", `export const bytes = "${bytes}";\n`, "export const bytes: string;\n");

function write(name, text, types) {
  writeFileSync(join(to, name), text);
  writeFileSync(join(to, name.replace(".js", ".d.ts")), types);
}
