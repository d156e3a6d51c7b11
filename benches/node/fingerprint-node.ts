/** The fingerprint of a JSON body in a Buffer, against what one would write without idemp: parse,
 *  `canonicalize` of npm, SHA-256. With the addon, and with WebAssembly. */
import { table } from "../js/race.js";
import { rival } from "./rival.js";

const microseconds = (time: number) => `${(time * 1000).toFixed(2)} µs`;

for (const backend of ["native", "wasm"]) {
  const { started, end } = await rival<Record<string, Record<string, number>>>("fingerprint-rival.ts", backend, {
    IDEMP_BACKEND: backend,
  });
  end();
  for (const [size, medians] of Object.entries(started)) {
    console.log(`\n${size}, IDEMP_BACKEND=${backend}`);
    console.log(table(medians, microseconds));
  }
}
console.log("\nasked: 15 times at 2 KB");
