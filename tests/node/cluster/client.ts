/** A client that asks until it has its answer. */
import { request } from "node:http";
import { setTimeout as sleep } from "node:timers/promises";
import { now, type Lost, type Told } from "./ledger.js";

/** How long it asks, in milliseconds: a key that has no answer by then is stuck. */
const PATIENCE = 60_000;
/** Between two of its requests, in milliseconds. It is in a hurry, and does not heed `Retry-After`. */
const PAUSE = 30;

/** Asks for the thing of a key until it is made. What came of every request goes to `tell`. @throws
 *  where that takes longer than a minute. */
export async function ask(port: number, key: string, tell: (entry: Told | Lost) => void): Promise<void> {
  const since = performance.now();
  for (;;) {
    const asked = now();
    const answer = await post(port, key).catch(() => undefined);
    if (answer) tell({ type: "told", key, asked, at: now(), ...answer });
    else tell({ type: "lost", key });
    if (answer?.status === 201) return;
    if (performance.now() - since > PATIENCE) throw new Error(`${key} is stuck at ${answer?.status}: ${answer?.body}`);
    await sleep(PAUSE);
  }
}

function post(port: number, key: string): Promise<Pick<Told, "status" | "replayed" | "body">> {
  return new Promise((resolve, reject) => {
    // A connection of its own, so that every request may come to another worker; one that a worker got
    // just before it was killed stays open, and silent.
    const sent = request({
      ...{ host: "127.0.0.1", port, method: "POST", path: "/things", agent: false, timeout: 1500 },
      headers: { "content-type": "application/json", "idempotency-key": key },
    });
    sent.on("error", reject);
    sent.on("timeout", () => sent.destroy(new Error("no answer")));
    sent.on("response", (response) => {
      const parts: Buffer[] = [];
      response.on("error", reject);
      response.on("data", (part: Buffer) => parts.push(part));
      response.on("end", () => {
        const { statusCode: status = 0, headers } = response;
        const replayed = headers["idempotent-replayed"] === "true";
        resolve({ status, replayed, body: Buffer.concat(parts).toString() });
      });
    });
    sent.end(JSON.stringify({ key }));
  });
}
