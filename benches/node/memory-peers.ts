/** A store in memory, 1 KB of JSON: a first request (claim it, execute, store the answer) and a replay,
 *  against other packages of the kind. For idemp, once with the addon and once with WebAssembly. */
import { heatTable, heats, type Heat } from "../js/race.js";
import { versioned } from "./peers.js";
import { rival, type Rival } from "./rival.js";

const WASM = "idemp, IDEMP_BACKEND=wasm";

/** By what they are printed as: what they are called, and what is in their environment. */
const contenders: Record<string, [name: string, env?: NodeJS.ProcessEnv]> = {
  idemp: ["idemp"],
  [WASM]: ["idemp", { IDEMP_BACKEND: "wasm" }],
  [versioned("@node-idempotency/core")]: ["@node-idempotency/core"],
  [versioned("@aws-lambda-powertools/idempotency")]: ["powertools"],
  "  with a local cache": ["powertools, cached"],
  "  with its payload validated": ["powertools, validated"],
};

const rivals: Rival<Record<string, number>>[] = [];
try {
  const racing: Record<string, Heat> = {};
  for (const [printed, [name, env]] of Object.entries(contenders)) {
    const started = await rival<Record<string, number>>("memory-rival.ts", name, env);
    rivals.push(started);
    racing[printed] = () => started.ask();
  }
  const medians = await heats(racing, 21, 4);
  console.log(heatTable(medians, (time) => `${(time * 1000).toFixed(2)} µs`));
  const { idemp, [WASM]: _, ...peers } = medians;
  const ratios = Object.entries(idemp!).map(([what, time]) => {
    const fastest = Math.min(...Object.values(peers).map((times) => times[what]!));
    return `${what} ${(fastest / time).toFixed(2)} times`;
  });
  console.log(`against the fastest of them: ${ratios.join(", ")}   asked: 5`);
  console.log("hono-idempotency and @nestarc/idempotency are not in the npm registry: nothing to measure");
} finally {
  for (const rival of rivals) rival.end();
}
