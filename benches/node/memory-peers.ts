/** One process, a store in memory, 1 KB of JSON: a first request (claim it, execute, store the answer)
 *  and a replay, against other packages of the kind. */
import { createIdempotency, fingerprintJson, type Decision } from "idemp";
import { memoryStore } from "idemp/memory";
import { heatTable, heats, type Heat } from "../js/race.js";
import { nodeIdempotency, powertools, versioned } from "./peers.js";
import { ANSWER, type Contender, requests } from "./request.js";

const COUNT = 1000;
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
    const all = async (): Promise<[took: number, cpu: number]> => {
      const [start, before] = [performance.now(), process.cpuUsage()];
      for (const request of asked) await contender.handle(request, execute);
      const { user, system } = process.cpuUsage(before);
      return [(performance.now() - start) / COUNT, (user + system) / 1000 / COUNT];
    };
    const [first, firstCpu] = await all();
    const [replay, replayCpu] = await all();
    if (executions !== COUNT) throw new Error(`executed ${executions} times, not ${COUNT}`);
    return { first, "cpu of a first": firstCpu, replay, "cpu of a replay": replayCpu };
  };
}

const medians = await heats(Object.fromEntries(Object.entries(contenders).map(([name, make]) => [name, heat(make)])));
console.log(heatTable(medians, (time) => `${(time * 1000).toFixed(2)} µs`));
const { idemp: ours, ...peers } = medians;
const ratios = Object.entries(ours!).map(([what, time]) => {
  const fastest = Math.min(...Object.values(peers).map((times) => times[what]!));
  return `${what} ${(fastest / time).toFixed(2)} times`;
});
console.log(`against the fastest of them: ${ratios.join(", ")}   asked: 5`);
console.log("hono-idempotency and @nestarc/idempotency are not in the npm registry: nothing to measure");
