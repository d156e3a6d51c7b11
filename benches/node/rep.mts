import { createIdempotency, fingerprintJson } from "idemp";
import { memoryStore } from "idemp/memory";
import { ANSWER, requests } from "./request.js";
const K = 5000; const asked = requests(K);
const idem = createIdempotency({ store: memoryStore() });
const answer = Buffer.from(JSON.stringify(ANSWER));
for (const r of asked) { const d: any = await idem.begin(["user-1"], r.key, fingerprintJson(r.raw)); await d.lease.finish(answer); }
const end = Date.now() + 9000; let n = 0;
const s = performance.now();
while (Date.now() < end) { for (const r of asked) { const d: any = await idem.begin(["user-1"], r.key, fingerprintJson(r.raw)); if (d.type !== "hit") throw 1; } n += K; }
console.log(((performance.now() - s) * 1000 / n).toFixed(3), "us");
