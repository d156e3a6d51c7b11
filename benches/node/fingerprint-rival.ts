/** One backend of idemp, in a process of its own, against what one would write without it. Says how long
 *  each took, in milliseconds, by the size of the body. */
import { createHash } from "node:crypto";
import canonicalize from "canonicalize";
import { fingerprintJson } from "idemp";
import { orders } from "../js/orders.js";
import { race } from "../js/race.js";
import { answer } from "./rival.js";

const medians: Record<string, Record<string, number>> = {};
for (const records of [1, 10, 345]) {
  const body = Buffer.from(orders(records));
  medians[`${body.length} bytes`] = race({
    "JSON.parse + canonicalize + createHash": () =>
      createHash("sha256").update(canonicalize(JSON.parse(body.toString()))!).digest("hex"),
    "idemp, from a Buffer": () => fingerprintJson(body),
    "createHash alone": () => createHash("sha256").update(body).digest("hex"),
  });
}
answer(medians, () => medians);
