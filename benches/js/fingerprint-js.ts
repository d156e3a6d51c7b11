/** The fingerprint of a JSON body in Node, by WebAssembly and from its bytes, against what one would write
 *  without idemp: parse, `canonicalize` of npm, SHA-256. And how long the core takes to start. */
import * as crypto from "node:crypto";
import canonicalize from "canonicalize";
import { fingerprintJson } from "idemp";
import { orders } from "./orders.js";
import { race, table } from "./race.js";

// The addon has a benchmark of its own. The core is chosen at the first question.
process.env["IDEMP_BACKEND"] = "wasm";

const hash = (text: string) => crypto.hash("sha256", text);
const microseconds = (time: number) => `${(time * 1000).toFixed(2)} µs`;

for (const records of [1, 10, 345]) {
  const text = orders(records);
  const body = Buffer.from(text);
  console.log(`\n${body.length} bytes`);
  const medians = race({
    "JSON.parse + canonicalize + crypto.hash": () => hash(canonicalize(JSON.parse(text))!),
    "the same, from a Buffer": () => hash(canonicalize(JSON.parse(body.toString()))!),
    "idemp, from a Buffer": () => fingerprintJson(body),
    "idemp, from text": () => fingerprintJson(text),
    "crypto.hash alone": () => crypto.hash("sha256", body),
  });
  console.log(table(medians, microseconds));
}

// In processes of their own, since what has started once is warm.
const { execFileSync } = await import("node:child_process");
const { fileURLToPath } = await import("node:url");
const source = fileURLToPath(new URL("start-up.mjs", import.meta.url));
console.log("\nstart-up: from the first call on, in a new process (median of 9)");
for (const core of ["server", "inline", "without-wasm"]) {
  const runs = Array.from({ length: 9 }, () =>
    Number(execFileSync(process.execPath, [source, core])),
  ).sort((left, right) => left - right);
  console.log(`${core.padEnd(52)}${`${runs[4]!.toFixed(2)} ms`.padStart(12)}`);
}
