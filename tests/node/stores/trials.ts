/** What a store on a server is put through, whichever server it is. */
import assert from "node:assert/strict";
import { createIdempotency, fingerprintOf, type Store } from "idemp";
import type { Servers } from "../servers.js";
import { claim, failure, lies, outcome, read, until, wins } from "./asks.js";

type Server = "postgres" | "redis";

let keys = 0;

/** One that nobody has used here. */
export function newKey(): string {
  return `key-${keys++}`;
}

/** In each round 200 callers come with one key, by turns to each of the stores: one executes, and the
 *  others are told that it does, or has. */
export async function crowd(stores: readonly Store[], rounds: number): Promise<void> {
  const idems = stores.map((store) => createIdempotency({ store }));
  for (let round = 0; round < rounds; round++) {
    const key = newKey();
    const callers = Array.from({ length: 200 }, async (_, caller) => {
      const idem = idems[caller % idems.length] as (typeof idems)[0];
      const decision = await idem.begin(["user-1"], key, fingerprintOf({ amount: 100 }));
      if (decision.type === "miss") await decision.lease.finish(Buffer.from(`by ${caller}`));
      return { caller, decision };
    });
    const told = await Promise.all(callers);
    const won = told.filter(({ decision }) => decision.type === "miss");
    assert.equal(won.length, 1, `round ${round}`);
    for (const { decision } of told) {
      if (decision.type === "hit") assert.equal(Buffer.from(decision.replay.outcome).toString(), `by ${won[0]?.caller}`);
      else assert.ok(["miss", "in-progress"].includes(decision.type), decision.type);
    }
  }
}

/** The server stands still: that is unknown within so many milliseconds, and when it goes on, so does the
 *  store. */
export async function standstill(store: Store, servers: Servers, name: Server, within: number): Promise<void> {
  const begun = claim(newKey());
  await wins(store, begun);
  await servers.pause(name);
  const started = performance.now();
  const key = newKey();
  for (const swap of [claim(key), outcome(begun, "done"), read(key)]) {
    const error = await failure(Promise.resolve(store.swap(swap)));
    assert.equal(error.code, "STORE_UNAVAILABLE");
    assert.match(error.message, new RegExp(`did not answer within ${within} ms`));
  }
  assert.ok(performance.now() - started < 5_000);
  await servers.resume(name);
  await until("it answers", () => lies(store, key).then(() => true, () => false));
}

/** The server is killed so many times under load: what was acknowledged is there, and nothing executes
 *  twice. */
export async function kills(store: Store, servers: Servers, name: Server, times: number): Promise<void> {
  const acknowledged: [key: string, rev: string][] = [];
  const claimed = new Map<string, number>();
  let failed = 0;
  const stop = new AbortController();
  const workers = Array.from({ length: 8 }, async () => {
    while (!stop.signal.aborted) {
      const key = newKey();
      const begun = claim(key);
      try {
        const { won } = await store.swap(begun);
        claimed.set(key, (claimed.get(key) ?? 0) + Number(won));
        const done = outcome(begun, key);
        if ((await store.swap(done)).won) acknowledged.push([key, done.put.rev]);
      } catch (error) {
        assert.equal((error as { code?: string }).code, "STORE_UNAVAILABLE", String(error));
        failed += 1;
        await new Promise((resolve) => setTimeout(resolve, 2));
      }
    }
  });
  const more = async () => {
    const enough = acknowledged.length + 100;
    await until("more is acknowledged", () => acknowledged.length >= enough);
  };
  for (let time = 0; time < times; time++) {
    await more();
    const before = failed;
    await servers.kill(name);
    await until("it fails", () => failed > before);
    await servers.start(name);
  }
  await more();
  stop.abort();
  await Promise.all(workers);
  for (const [key, rev] of acknowledged) assert.equal((await lies(store, key))?.rev, rev, `${key} is lost`);
  assert.ok([...claimed.values()].every((wins) => wins <= 1));
}
