/**
 * The shared vectors of `apply`, against a real server.
 *
 * A server's clock cannot be set, so each case is moved in time: its `now` becomes a moment that comes
 * soon. What lies there is laid with its deadlines, and the question is put. The server's answer says
 * what its time was; `apply`, at that time, says what the answer has to be. A case whose deadlines lie
 * that close together is one of a few that the server's time may have passed by; the definition is held
 * against it all the same.
 */
import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { type Slot, type Store, apply } from "idemp";
import { redisStore } from "idemp/redis";
import { Redis } from "ioredis";
import { type Servers, startServers } from "../servers.js";
import { name } from "./asks.js";
import { CLIENTS, CLUSTERS } from "./redis-clients.js";
import { type Case, vectors } from "./vectors.js";

let servers: Servers;
let clustered: Servers;
let admin: Redis;
before(async () => {
  [servers, clustered] = await Promise.all([startServers("redis"), startServers("cluster")]);
  admin = new Redis(servers.url("redis"));
});
after(async () => {
  admin?.disconnect();
  await Promise.all([servers?.stop(), clustered?.stop()]);
});

const { ioredis, redis } = CLIENTS;
for (const [label, connect] of Object.entries({ ioredis, redis })) {
  test(`${label}: a server answers the vectors as the definition does`, async () => {
    const { client, end } = await connect(servers.url("redis"));
    await run(redisStore(client), admin);
    await end();
  });
}

test("a cluster answers the vectors as the definition does", async () => {
  const { client, end } = await CLUSTERS["Cluster of ioredis"](clustered.urls("cluster"));
  await run(redisStore(client), client as never);
  await end();
});

async function run(store: Store, laying: Redis) {
  const cases = vectors();
  assert.ok(cases.length >= 240);
  let late = 0;
  for (const [index, one] of cases.entries()) {
    const prefix = `vector ${index} `;
    const slot = name(prefix);
    late += Number(await wasLate(store, laying, { ...one, swap: { ...one.swap, slot } }));
  }
  assert.ok(late * 4 < cases.length, `most cases met their moment: ${late} did not`);
}

/** Runs a case; `true` where the server's time was another one than the case's in what matters. */
async function wasLate(store: Store, laying: Redis, { name: title, slot, now, swap }: Case): Promise<boolean> {
  const time = async () => (await store.swap({ ...swap, expect: { rev: "0".repeat(32) }, put: "remove" })).now;
  const shift = (await time()) + 20 - now;
  const there = slot && { ...slot, leaseUntil: slot.leaseUntil + shift, goneAt: slot.goneAt + shift };
  if (there) await lay(laying, swap.slot, there);
  // The moment itself: the server is asked until its time has come.
  while ((await time()) < now + shift);
  const reply = await store.swap(swap);
  const applied = apply(there, swap, reply.now);
  assert.deepEqual(reply, applied.swapped, title);
  const left = await store.swap({ ...swap, expect: { rev: "0".repeat(32) }, put: "remove" });
  const after = "slot" in applied ? applied.slot : there;
  assert.deepEqual(!left.won && left.slot, after && left.now < after.goneAt ? after : undefined, title);
  return apply(there, swap, now + shift).swapped.won !== reply.won;
}

/** Puts a slot there with its deadlines, in the form that the stores read. */
async function lay(laying: Redis, key: string, { rev, leaseUntil, goneAt, head, body }: Slot) {
  const before = Buffer.alloc(8);
  before.writeBigInt64LE(BigInt(goneAt - leaseUntil));
  const value = Buffer.concat([Buffer.of(1), Buffer.from(rev, "hex"), before, Buffer.of(head.length), head, body]);
  const at = Buffer.concat([Buffer.from("idemp:"), Buffer.from(key, "hex")]);
  await laying.set(at, value, "PXAT", goneAt);
}
