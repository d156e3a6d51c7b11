/** One process, a store in memory, 1 KB of JSON: a first request (claim it, execute, store the answer)
 *  and a replay, against other packages of the kind. */
import { createIdempotency, fingerprintJson, type Decision } from "idemp";
import { memoryStore } from "idemp/memory";
import { heats, type Heat } from "../js/race.js";
import { nodeIdempotency, powertools, versioned } from "./peers.js";
import { ANSWER, type Contender, requests } from "./request.js";

const COUNT = 4000;
const asked = requests(COUNT);

/** As a middleware does: the fingerprint is made of the bytes that came, and bytes are kept. */
function idemp(): Contender {
  const idem = createIdempotency({ store: memoryStore() });
  return {
    async handle({ key, raw }, execute) {
      const decision: Decision = await idem.begin(["user-1"], key, fingerprintJson(raw));
      if (decision.type === "hit") return decision.replay.outcome;
      if (decision.type !== "miss") throw new Error(decision.type);
      const answer = Buffer.from(JSON.stringify(execute()));
      await decision.lease.finish(answer);
      return answer;
    },
  };
}

const contenders: Record<string, () => Contender> = {
  idemp,
  [versioned("@node-idempotency/core")]: nodeIdempotency,
  [versioned("@aws-lambda-powertools/idempotency")]: () => powertools(),
  "  with a local cache": () => powertools({ useLocalCache: true }),
  "  with its payload validated": () => powertools({ validated: true }),
};

/** A first request and a replay of each, and nothing executed twice. */
function heat(make: () => Contender): Heat {
  return async () => {
    const contender = make();
    let executions = 0;
    const execute = () => {
      executions += 1;
      return ANSWER;
    };
    const all = async () => {
      const start = performance.now();
      for (const request of asked) await contender.handle(request, execute);
      return (performance.now() - start) / COUNT;
    };
    const measured = { first: await all(), replay: await all() };
    if (executions !== COUNT) throw new Error(`executed ${executions} times, not ${COUNT}`);
    return measured;
  };
}

const medians = await heats(Object.fromEntries(Object.entries(contenders).map(([name, make]) => [name, heat(make)])));
const [[, ours], ...peers] = Object.entries(medians) as [[string, Record<string, number>], ...[string, Record<string, number>][]];
const columns = ["first", "replay"];
const microseconds = (time: number) => `${(time * 1000).toFixed(2)} µs`;
console.log("".padEnd(52) + columns.map((column) => column.padStart(24)).join(""));
for (const [name, times] of Object.entries(medians)) {
  const cells = columns.map((column) => `${microseconds(times[column]!)} ${(times[column]! / ours[column]!).toFixed(2)} times`);
  console.log(name.padEnd(52) + cells.map((cell) => cell.padStart(24)).join(""));
}
const ratios = columns.map((column) => {
  const fastest = Math.min(...peers.map(([, times]) => times[column]!));
  return `${column} ${(fastest / ours[column]!).toFixed(2)} times`;
});
console.log(`against the fastest of them: ${ratios.join(", ")}   asked: 5`);
