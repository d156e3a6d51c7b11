// The little program that every consumer runs. It stands after the imports of each, which hand it
// what they got; so it is text here, and no module.

/* eslint-disable no-unused-vars */
async function program({ createIdempotency, fingerprintOf, memoryStore }) {
  const scope = ["acme-studios", "POST /api/video-tasks"];
  const idem = createIdempotency({ store: memoryStore() });
  const order = fingerprintOf({ b: [1, 2], a: "A/" });
  const said = [];
  const first = await idem.begin(scope, "final-1769660861", order);
  said.push(first.type);
  const outcome = Uint8Array.from([0, 255, 128, 10]);
  said.push((await first.lease.finish(outcome)).type);
  const again = await idem.begin(scope, "final-1769660861", order);
  said.push(again.type, Array.from(again.replay.outcome).join());
  const other = await idem.begin(scope, "final-1769660861", fingerprintOf({ b: [1, 3], a: "A/" }));
  said.push(other.type, order);
  return said.join(" ");
}
