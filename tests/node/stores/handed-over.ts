/** Records and leases that Rust and JavaScript share: the same story on every store. */
import assert from "node:assert/strict";
import { type Decision, type Idempotency, fingerprintJson } from "idemp";
import { inRust, prepared } from "./hand-over.js";

const utf8 = (bytes: Uint8Array | undefined) => Buffer.from(bytes ?? []).toString();
const PAYLOAD = '{"amount": 100, "to": "Ünal"}';

/** Tells it on `idem`, whose store is that of the address. */
export async function isHandedOver(url: string, idem: Idempotency): Promise<void> {
  prepared();
  const begin = (key: string, payload = PAYLOAD) => idem.begin(["user-1"], key, fingerprintJson(Buffer.from(payload)));
  const is = <T extends Decision["type"]>(decision: Decision, type: T) => {
    assert.equal(decision.type, type);
    return decision as Extract<Decision, { type: T }>;
  };

  // Begun here: Rust sees it, publishes on it, finishes it, and replays it.
  const { lease } = is(await begin("from-js"), "miss");
  assert.equal((await inRust(url, "begin", "user-1", "from-js", PAYLOAD)).said, "in progress");
  assert.equal((await inRust(url, "begin", "user-1", "from-js", "{}")).said, "conflict");
  assert.equal((await inRust(url, "publish", lease.token, "half done ✓")).said, "held");
  assert.equal(utf8(is(await begin("from-js"), "in-progress").other.published), "half done ✓");
  assert.equal((await inRust(url, "finish", lease.token, "order 17 ✓")).said, "ended");
  assert.equal(utf8(is(await begin("from-js"), "hit").replay.outcome), "order 17 ✓");
  is(await begin("from-js", "{}"), "conflict");

  // Begun in Rust: seen, published on and finished here.
  const begun = await inRust(url, "begin", "user-1", "from-rust", PAYLOAD);
  assert.equal(begun.said, "miss");
  is(await begin("from-rust"), "in-progress");
  const resumed = idem.resume(begun.rest);
  assert.equal((await resumed.publish(Buffer.from("half done"))).type, "held");
  assert.deepEqual(await inRust(url, "begin", "user-1", "from-rust", PAYLOAD), { said: "in progress", rest: "half done" });
  assert.equal((await resumed.finish(Buffer.from("order 18 ✓"))).type, "ended");
  assert.deepEqual(await inRust(url, "begin", "user-1", "from-rust", PAYLOAD), { said: "hit", rest: "order 18 ✓" });
  // Whoever comes late is late in both.
  assert.equal((await inRust(url, "finish", begun.rest, "another")).said, "stale");
  assert.equal((await idem.resume(lease.token).finish(Buffer.from("another"))).type, "stale");

  // Released here, taken up there.
  const first = is(await begin("released"), "miss").lease;
  await first.release();
  assert.equal((await inRust(url, "begin", "user-1", "released", "{}")).said, "conflict");
  const second = await inRust(url, "begin", "user-1", "released", PAYLOAD);
  assert.equal(second.said, "miss");
  assert.equal(idem.resume(second.rest).attempt, 2);
}
