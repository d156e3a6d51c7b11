/** The core in Chromium: as WebAssembly, and without it on a page whose policy forbids it. */

import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { readFileSync } from "node:fs";
import { after, before, test } from "node:test";
import { fileURLToPath } from "node:url";
import "../../js/src/core/inline.js";
import { operate } from "../../js/test/random-operations.js";
import { type Chromium, launch } from "./chromium.js";
import type { CorePage } from "./core-page.js";
import { bundle, page, type PagesServer, serve } from "./pages-server.js";

declare const corePage: CorePage;

const OPERATIONS = 100_000;
const SEED = 4_711;
const STRICT = { "content-security-policy": "default-src 'none'; script-src 'self'; connect-src 'self'" };
const ALLOWED = { "content-security-policy": "script-src 'self' 'wasm-unsafe-eval'; connect-src 'self'" };

let chromium: Chromium;
let server: PagesServer;
/** What the core of Node answers, which its own test compares with the native one. */
let expected: string;

before(async () => {
  const read = (name: string) =>
    readFileSync(new URL(`../../tests/vectors/${name}.json`, import.meta.url), "utf8");
  const names = ["apply", "decisions", "canonical", "fingerprint"];
  const vectors = `{${names.map((name) => `"${name}":${read(name)}`).join(",")}}`;
  const script = (name: string) => bundle(fileURLToPath(import.meta.resolve(`./${name}.ts`)));
  server = await serve({
    "/wasm": page("/wasm.js", ALLOWED),
    "/wasm-forbidden": page("/wasm.js", STRICT),
    "/without-wasm": page("/without-wasm.js", STRICT),
    "/wasm.js": await script("core-wasm-page"),
    "/without-wasm.js": await script("core-csp-page"),
    "/server": page("/server.js", ALLOWED),
    "/server.js": await script("core-server-page"),
    "/vectors.json": (_, response) => response.end(vectors),
  });
  chromium = await launch();
  const answers = createHash("sha256");
  operate(OPERATIONS, SEED, (_question, _bytes, answer) => answers.update(answer));
  expected = answers.digest("hex");
});

after(async () => {
  await chromium.close();
  await server.close();
});

async function open(path: string) {
  const tab = await chromium.context.newPage();
  await tab.goto(server.origin + path);
  await tab.waitForFunction(() => "corePage" in globalThis);
  return tab;
}

for (const path of ["/wasm", "/without-wasm"]) {
  test(`${path}: the vectors give what they give in Rust`, async () => {
    const tab = await open(path);
    const ran = await tab.evaluate(() => corePage.vectors());
    assert.deepEqual(ran, { apply: 240, decisions: 420, canonical: 54, fingerprint: 19 });
  });

  test(`${path}: ${OPERATIONS} random operations give what they give in Node`, async () => {
    const tab = await open(path);
    const got = await tab.evaluate(([count, seed]) => corePage.operations(count, seed), [OPERATIONS, SEED] as const);
    assert.equal(got, expected);
  });
}

test("/server: so do those of what a page does not load", async () => {
  const tab = await open("/server");
  assert.deepEqual(await tab.evaluate(() => corePage.vectors()), { fingerprint: 39, rfc8785: 54 });
});

test("where a page's policy forbids WebAssembly the error names the entry that works", async () => {
  const tab = await open("/wasm-forbidden");
  const said = await tab.evaluate(() => corePage.vectors().catch((error: Error & { code?: string }) => `${error.code} ${error.message}`));
  assert.match(String(said), /^WASM_UNAVAILABLE .*idemp\/csp/);
});
