/** A whole app in Express, 1 KB POSTs over connections that stay open, against the same app without a
 *  middleware, and beside it those of other packages. Each app has a process, and so has the load. */
import { heatTable, heats, type Heat } from "../js/race.js";
import { send } from "./load.js";
import { versioned } from "./peers.js";
import { BODY } from "./request.js";
import { rival, type Rival } from "./rival.js";

const COUNT = 500;
const CONNECTIONS = 16;

const BARE = `without a middleware (${versioned("express")})`;

/** By what they are printed as: what they are called, and what is in their environment. */
const apps: Record<string, [name: string, env?: NodeJS.ProcessEnv]> = {
  [BARE]: ["bare"],
  idemp: ["idemp"],
  "idemp, IDEMP_BACKEND=wasm": ["idemp", { IDEMP_BACKEND: "wasm" }],
  [versioned("@node-idempotency/core")]: ["@node-idempotency/core"],
  [`${versioned("express-idempotency")} *`]: ["express-idempotency"],
};

let number = 0;

function requests(): Buffer[] {
  return Array.from({ length: COUNT }, () => {
    const head = [
      "POST /orders HTTP/1.1",
      "host: 127.0.0.1",
      "content-type: application/json",
      `content-length: ${Buffer.byteLength(BODY)}`,
      `idempotency-key: order-${number++}-2fc6dfe5`,
    ];
    return Buffer.from(`${head.join("\r\n")}\r\n\r\n${BODY}`);
  });
}

const running: Rival<number>[] = [];

async function contender(name: string, env?: NodeJS.ProcessEnv): Promise<Heat> {
  const app = await rival<number>("express-app.ts", name, env);
  running.push(app);
  const port = app.started;
  const round = async (all: Buffer[]) => {
    const before = await app.ask();
    const took = await send({ port, connections: CONNECTIONS, requests: all, answer: "HTTP/1.1 201" });
    return { rate: took / COUNT, cpu: ((await app.ask()) - before) / 1000 / COUNT };
  };
  return async () => {
    const all = requests();
    const first = await round(all);
    const replay = await round(all);
    return { first: first.rate, "cpu of a first": first.cpu, replay: replay.rate, "cpu of a replay": replay.cpu };
  };
}

try {
  const contenders: Record<string, Heat> = {};
  for (const [printed, app] of Object.entries(apps)) contenders[printed] = await contender(...app);
  const medians = await heats(contenders, 21);
  const bare = medians[BARE]!;
  const unit = (time: number, what: string) =>
    what.startsWith("cpu") ? `${(time * 1000).toFixed(1)} µs` : `${(1000 / time).toFixed(0)}/s`;
  console.log(heatTable(medians, unit));
  const ratio = bare["first"]! / medians["idemp"]!["first"]!;
  console.log(`with idemp ${ratio.toFixed(2)} times the rate without   asked: 0.85`);
  console.log("* with its store in memory replaced by a map: its own is searched from end to end");
} finally {
  for (const app of running) app.end();
}
