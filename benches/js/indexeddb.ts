/** `begin` and `finish` over IndexedDB in a real Chromium, against two bare readwrite transactions of
 *  the same bytes and the same durability, in the same page. */
import { fileURLToPath } from "node:url";
import { launch } from "../../tests/browser/chromium.js";
import { bundle, page, serve } from "../../tests/browser/pages-server.js";
import { median } from "./race.js";

const script = await bundle(fileURLToPath(new URL("indexeddb-page.ts", import.meta.url)), { minify: true });
const server = await serve({ "/": page("/page.js"), "/page.js": script });
const chromium = await launch();
try {
  const tab = await chromium.context.newPage();
  await tab.goto(server.origin);
  await tab.waitForFunction(() => "measure" in globalThis);
  const times = await tab.evaluate(() =>
    (globalThis as unknown as { measure(rounds: number, each: number): Promise<{ idemp: number[]; bare: number[] }> }).measure(41, 40),
  );
  const [bare, idemp] = [median(times.bare), median(times.idemp)];
  console.log(`two bare transactions${`${bare.toFixed(3)} ms`.padStart(24)}`);
  console.log(`begin + finish       ${`${idemp.toFixed(3)} ms`.padStart(24)}   ${(idemp / bare).toFixed(2)} times   asked: at most 1.3`);
} finally {
  await chromium.close();
  await server.close();
}
