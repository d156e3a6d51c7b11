/** `node memory-rival.ts NAME`: one of those that `memory-peers` compares. Asked, it takes requests that
 *  are new to a new store, then the same ones again, and says how long each took. */
import { createIdempotency, fingerprintJson } from "idemp";
import { memoryStore } from "idemp/memory";
import { nodeIdempotency, powertools } from "./peers.js";
import { ANSWER, requests, type Contender } from "./request.js";
import { answer } from "./rival.js";

const COUNT = 5000;

/** As a middleware does: the fingerprint is made of the bytes that came, and bytes are kept. */
function idemp(): Contender {
  const idem = createIdempotency({ store: memoryStore() });
  return {
    async handle({ key, raw }, execute) {
      const decision = await idem.begin(["user-1"], key, fingerprintJson(raw));
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
  "@node-idempotency/core": nodeIdempotency,
  powertools: () => powertools(),
  "powertools, cached": () => powertools({ useLocalCache: true }),
  "powertools, validated": () => powertools({ validated: true }),
};
const make = contenders[process.argv[2]!]!;
const asked = requests(COUNT);

answer<Record<string, number>>({}, async () => {
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
});
