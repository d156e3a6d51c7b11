/** A store in memory, 1 KB of JSON: a first request (claim it, execute, store the answer) and a replay,
 *  against other packages of the kind. For idemp, once with the addon and once with WebAssembly. */
import { heatTable, heats, type Heat } from "../js/race.js";
import { versioned } from "./peers.js";
import { rival, type Rival } from "./rival.js";

/** By what they are called: as they are printed. */
const names: Record<string, string> = {
  idemp: "idemp",
  "idemp, wasm": "idemp, IDEMP_BACKEND=wasm",
  "@node-idempotency/core": versioned("@node-idempotency/core"),
  powertools: versioned("@aws-lambda-powertools/idempotency"),
  "powertools, cached": "  with a local cache",
  "powertools, validated": "  with its payload validated",
};

const rivals: Rival<Record<string, number>>[] = [];
try {
  const contenders: Record<string, Heat> = {};
  for (const [name, printed] of Object.entries(names)) {
    const [program, backend] = name.split(", wasm");
    const started = await rival<Record<string, number>>("memory-rival.ts", program!, backend === "" ? { IDEMP_BACKEND: "wasm" } : {});
    rivals.push(started);
    contenders[printed] = () => started.ask();
  }
  const { idemp, "idemp, IDEMP_BACKEND=wasm": wasm, ...peers } = await heats(contenders, 21, 4);
  console.log(heatTable({ idemp: idemp!, "idemp, IDEMP_BACKEND=wasm": wasm!, ...peers }, (time) => `${(time * 1000).toFixed(2)} µs`));
  const ratios = Object.entries(idemp!).map(([what, time]) => {
    const fastest = Math.min(...Object.values(peers).map((times) => times[what]!));
    return `${what} ${(fastest / time).toFixed(2)} times`;
  });
  console.log(`against the fastest of them: ${ratios.join(", ")}   asked: 5`);
  console.log("hono-idempotency and @nestarc/idempotency are not in the npm registry: nothing to measure");
} finally {
  for (const rival of rivals) rival.end();
}
