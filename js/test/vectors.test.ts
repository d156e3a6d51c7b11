import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";
import { CORE_NAMES, use } from "./cores.js";
import { runVectors, type Vectors } from "./vectors.js";

const read = (name: string) =>
  JSON.parse(readFileSync(new URL(`../../tests/vectors/${name}.json`, import.meta.url), "utf8"));
const vectors: Vectors = {
  apply: read("apply"),
  decisions: read("decisions"),
  canonical: read("canonical"),
  fingerprint: read("fingerprint"),
};

for (const core of CORE_NAMES) {
  test(`the vectors give in JavaScript, ${core}, what they give in Rust`, async () => {
    use(core);
    const ran = runVectors(vectors);
    assert.deepEqual(ran, { apply: 240, decisions: 420, canonical: 54, fingerprint: 19 });
  });
}
