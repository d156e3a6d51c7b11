import { createIdempotency, fingerprintJson } from "idemp";
import { memoryStore } from "idemp/memory";
import { ANSWER, requests } from "./request.js";
const D = "../../js/dist/esm/";
const { fingerprintOfRequest } = await import(D + "gate/payload.js");
const { keyOfHeader, storedHead } = await import(D + "core/http.js");
const { Gate, byStatus } = await import(D + "gate/index.js");
const K = 3000;
const asked = requests(K);
const ta = async (n: string, f: () => any) => { for (let w = 0; w < 5; w++) await f(); const xs = []; for (let r = 0; r < 15; r++) { const s = performance.now(); await f(); xs.push((performance.now() - s) * 1000 / K); } console.log(n.padEnd(20), xs.sort((a, b) => a - b)[7]!.toFixed(3)); };
const target = { method: "POST", path: "/orders", query: undefined, contentType: "application/json" };
await ta("fingerprintJson", () => { for (const r of asked) fingerprintJson(r.raw); });
await ta("fingerprintOfRequest", () => { for (const r of asked) fingerprintOfRequest(target, r.raw); });
await ta("keyOfHeader", () => { for (const r of asked) keyOfHeader([r.key], false); });
const headers = [["x-powered-by", "Express"], ["content-type", "application/json; charset=utf-8"], ["content-length", "162"], ["etag", 'W/"a2-skdjfhskdjfhskjdfh"']];
await ta("storedHead", () => { for (const r of asked) storedHead({ status: 201, headers, bodyLength: 162 }, []); });
const answer = Buffer.from(JSON.stringify(ANSWER));
let gate: any;
await ta("gate whole", async () => {
  gate = new Gate(createIdempotency({ store: memoryStore() }), byStatus({ scope: () => "user-1" } as any));
  for (const r of asked) { const e = gate.enter("POST", [r.key], undefined); const a = await gate.admit(e.entry, {}, target, async () => r.raw); await a.owner.settle({ type: "response", status: 201, headers, body: answer }); }
});
await ta("gate replay", async () => {
  for (const r of asked) { const e = gate.enter("POST", [r.key], undefined); const a = await gate.admit(e.entry, {}, target, async () => r.raw); if (a.type !== "answer") throw 1; }
});
