// `node js/build/machine.mjs SMALL FAST`: what wasm-bindgen left in these two folders becomes
// js/src/generated: the WebAssembly, optimised for pages and for servers; its bytes in a script; the
// glue, which is the same for both; and the small one without WebAssembly.
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
tool("wasm-opt", join(small, "idemp_bg.wasm"), "-Oz", "--converge", "--one-caller-inline-max-function-size=150", "--strip-producers", ...enabled, "-o", wasm);

const lowered = join(to, "lowered.wasm");
const lowering = ["--llvm-memory-copy-fill-lowering", "--signext-lowering", "-Oz"];
tool("wasm-opt", wasm, ...lowering, ...enabled, "-o", lowered);
const translated = tool("wasm2js", "-O", lowered).toString();
write("without-wasm.js", translated, "export const memory: unknown;\n");

// In the place of wasm-bindgen's glue, which is twice as long. It goes by the same convention, so that
// is to be the one that is known here.
const convention = "wasm.call(retptr, _function, ptr0, len0);";
if (!readFileSync(join(small, "idemp_bg.js"), "utf8").includes(convention)) {
  throw new Error("wasm-bindgen writes its glue in another way now");
}
write(
  "glue.js",
  `let wasm;

export function call(question, bytes) {
  const { memory, __wbindgen_add_to_stack_pointer: move } = wasm;
  const place = move(-16);
  try {
    const at = wasm.__wbindgen_malloc(bytes.length, 1) >>> 0;
    // Views are made anew: a memory that grows is another buffer.
    new Uint8Array(memory.buffer).set(bytes, at);
    wasm.call(place, question, at, bytes.length);
    const view = new DataView(memory.buffer, place);
    const from = view.getUint32(0, true);
    const length = view.getUint32(4, true);
    const answer = new Uint8Array(memory.buffer, from, length).slice();
    wasm.__wbindgen_free(from, length, 1);
    return answer;
  } finally {
    move(16);
  }
}

export function __wbg_set_wasm(exports) {
  wasm = exports;
}
`,
  `export function call(question: number, bytes: Uint8Array): Uint8Array<ArrayBuffer>;
export function __wbg_set_wasm(exports: unknown): void;
`,
);

writePacked("bytes.js", wasm);

const faster = join(to, "fast.wasm");
tool("wasm-opt", join(fast, "idemp_bg.wasm"), "-O3", "--strip-producers", "--enable-simd", ...enabled, "-o", faster);
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
