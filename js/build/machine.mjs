// `node js/build/machine.mjs SMALL.wasm FAST.wasm`: these two builds become js/src/generated: the
// WebAssembly, optimised for pages and for servers; its bytes in a script; and the small one without
// WebAssembly.
import { execFileSync } from "node:child_process";
import { mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { createRequire } from "node:module";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";

const [small, fast] = process.argv.slice(2);
const to = fileURLToPath(new URL("../src/generated", import.meta.url));
const binaryen = join(dirname(createRequire(import.meta.url).resolve("binaryen/package.json")), "bin");
const tool = (name, ...args) => execFileSync(process.execPath, [join(binaryen, name), ...args]);

mkdirSync(to, { recursive: true });

// What every engine has that has BigInt, and no more.
const features = ["bulk-memory", "bulk-memory-opt", "mutable-globals", "nontrapping-float-to-int", "sign-ext"];
const enabled = features.map((feature) => `--enable-${feature}`);
const wasm = join(to, "idemp.wasm");
// Nothing lies below 1024: there the stack ends, which is a megabyte.
const forSize = ["-Oz", "--converge", "--one-caller-inline-max-function-size=250", "--low-memory-unused"];
tool("wasm-opt", small, ...forSize, "--strip-producers", ...enabled, "-o", wasm);

const lowered = join(to, "lowered.wasm");
const lowering = ["memory-copy-fill", "nontrapping-fptoint"].map((what) => `--llvm-${what}-lowering`);
tool("wasm-opt", wasm, ...lowering, "--signext-lowering", "-Oz", ...enabled, "-o", lowered);
const translated = tool("wasm2js", "-O", lowered).toString();
const exported = 'import type { Exported } from "../core/exported.js";\n';
write("without-wasm.js", translated, `${exported}export const { memory, room, call, place }: Exported;\n`);

writePacked("bytes.js", wasm);

const faster = join(to, "fast.wasm");
tool("wasm-opt", fast, "-O3", "--strip-producers", "--enable-simd", ...enabled, "-o", faster);
writePacked("fast-bytes.js", faster);

function writePacked(name, file) {
  const types = "export const packed: string;\n";
  write(name, `export const packed = ${JSON.stringify(packed(readFileSync(file)))};\n`, types);
}

// Text that compresses like the bytes themselves, where base64 is a quarter larger: a byte below 80,
// as most are, is one letter, and of the others one letter has the high half and a second the low one.
function packed(bytes) {
  // Letters that need no escape in a script: from # to ~ without the backslash. They are just enough.
  const letter = (place) => String.fromCharCode(place + (place > 56 ? 36 : 35));
  const spelt = (byte) => (byte < 80 ? letter(byte) : letter(75 + (byte >> 4)) + letter(byte & 15));
  return Array.from(bytes, spelt).join("");
}

function write(name, text, types) {
  writeFileSync(join(to, name), text);
  writeFileSync(join(to, name.replace(".js", ".d.ts")), types);
}
