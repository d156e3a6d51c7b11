// The example page end to end: a real browser, Vite's preview, and each of the two services behind it.

import assert from "node:assert/strict";
import { mkdir, stat } from "node:fs/promises";
import { join } from "node:path";
import { after, afterEach, before, beforeEach, suite, test } from "node:test";
import type { Page, Request } from "playwright-core";
import { launch, type Chromium } from "./chromium.js";
import { examplePage, examplePageInDevelopment, type ExamplePage } from "./example-page.js";
import { ROOT } from "./serving.js";
import { videoTasks, type VideoTasks } from "./video-tasks.js";

let service: VideoTasks;
let site: ExamplePage;
let chromium: Chromium;

/** The starts that any tab sent, each with its key. */
let starts: Request[];
let errors: Error[];

// The first time the service in Rust is built.
for (const language of ["Rust", "Express"] as const) {
  suite(`the page before the service in ${language}`, { timeout: 900_000 }, () => {
    before(async () => {
      service = await videoTasks(language);
      site = await examplePage(service.origin);
    });

    after(async () => {
      await site?.close();
      await service?.close();
    });

    beforeEach(async () => {
      chromium = await launch();
      chromium.context.setDefaultTimeout(20_000);
      starts = [];
      errors = [];
      chromium.context.on("request", (request) => {
        if (isStart(request)) starts.push(request);
      });
      chromium.context.on("weberror", (error) => errors.push(error.error()));
    });

    afterEach(async () => {
      await chromium.close();
      assert.deepEqual(errors, []);
    });

    test("an analysis is started once, and a reload shows it again without asking", async () => {
      const page = await open("ada", "reloaded.mp4");
      const task = await started(page);
      await says(page, /Asked the server with key [0-9a-f]{4}…/);
      await says(page, `The server has started ${task}.`);
      await page.reload();
      await says(page, `This browser remembers ${task} for reloaded.mp4. Nothing was sent.`);
      assert.equal(await taskOf(page), task);
      await words(page, "The analysis of reloaded.mp4 is at work.");
      assert.equal(starts.length, 1);
    });

    test("start pressed twice, and once more, is one analysis", async () => {
      const page = await open("ada", "impatient.mp4");
      await page.getByRole("button", { name: "Start the analysis" }).dblclick();
      await words(page, "The analysis of impatient.mp4 is at work.");
      const task = await taskOf(page);
      await press(page, "Start the analysis");
      await says(page, `Already active: joined ${task}. Nothing was sent.`);
      assert.equal(await taskOf(page), task);
      assert.equal(starts.length, 1);
    });

    test("a second tab shows the same analysis, also one that was open before", async () => {
      const early = await open("ada", "two tabs.mp4");
      const first = await open("ada", "two tabs.mp4");
      await says(early, "Nothing is active for two tabs.mp4, as far as this browser knows.");
      const task = await started(first);
      await words(early, "The analysis of two tabs.mp4 is at work.");
      assert.equal(await taskOf(early), task);
      await says(early, `Another tab has started ${task}: shown here, too.`);
      const [late] = await Promise.all([
        chromium.context.waitForEvent("page"),
        first.getByRole("link", { name: "Open a second tab" }).click(),
      ]);
      await says(late, `This browser remembers ${task} for two tabs.mp4. Nothing was sent.`);
      assert.equal(await taskOf(late), task);
      assert.equal(starts.length, 1);
    });

    test("two tabs that start at the same moment send one request, and both show its task", async () => {
      const tabs = [await open("ada", "race.mp4"), await open("ada", "race.mp4")] as const;
      await Promise.all(tabs.map((tab) => press(tab, "Start the analysis")));
      await Promise.all(tabs.map((tab) => words(tab, "The analysis of race.mp4 is at work.")));
      assert.equal(await taskOf(tabs[0]), await taskOf(tabs[1]));
      assert.equal(starts.length, 1);
    });

    for (const [button, end] of [
      ["Cancel", "was cancelled"],
      ["It is complete", "is complete"],
      ["It has failed", "has failed"],
    ] as const) {
      test(`an analysis that ${end} is settled in every tab, and the next start begins a new one`, async () => {
        const file = `${button}.mp4`;
        const page = await open("ada", file);
        const other = await open("ada", file);
        const task = await started(page);
        await words(other, `The analysis of ${file} is at work.`);
        await press(other, button);
        for (const tab of [page, other]) {
          await words(tab, `The analysis of ${file} ${end}. The next start begins a new one.`);
        }
        await says(other, `${task} ${end}: settled. The next start begins a new one.`);
        await page.reload();
        await says(page, `Nothing is active for ${file}, as far as this browser knows.`);
        const next = await started(page);
        assert.notEqual(next, task);
        assert.equal(new Set(await keys()).size, 2);
      });
    }

    test("an analysis that its worker ended elsewhere is settled as soon as somebody looks", async () => {
      const page = await open("ada", "worker.mp4");
      const task = await started(page);
      await page.goto("about:blank");
      const ended = await fetch(`${service.origin}/api/v1/track/${task}/complete`, { method: "POST" });
      assert.equal(ended.status, 200);
      await page.goBack();
      await words(page, "The analysis of worker.mp4 is complete. The next start begins a new one.");
    });

    test("two people on one machine: neither sees what the other started, and signing out forgets", async () => {
      const ada = await open("ada", "same name.mp4");
      const ben = await open("ben", "same name.mp4");
      const hers = await started(ada);
      await words(ben, "No analysis of same name.mp4 is active.");
      const his = await started(ben);
      assert.notEqual(hers, his);
      await press(ada, "Sign out");
      await says(ada, "Ada Acheson signed out: this browser has forgotten what was started.");
      await ada.getByRole("button", { name: "Ben Birk" }).click();
      await words(ada, "The analysis of same name.mp4 is at work.");
      assert.equal(await taskOf(ada), his);
      await press(ada, "Sign out");
      // The browser has forgotten hers, and the server has not.
      await ada.getByRole("button", { name: "Ada Acheson" }).click();
      await words(ada, "No analysis of same name.mp4 is active.");
      assert.equal(await started(ada), hers);
      await says(ada, `The server says: already active. Joined ${hers}.`);
    });

    test("storage that was cleared is no reason for a second analysis: the server joins", async () => {
      const page = await open("ada", "cleared.mp4");
      const task = await started(page);
      await page.goto("about:blank");
      const devtools = await chromium.context.newCDPSession(page);
      await devtools.send("Storage.clearDataForOrigin", { origin: site.origin, storageTypes: "all" });
      await page.goBack();
      await words(page, "No analysis of cleared.mp4 is active.");
      assert.equal(await started(page), task);
      await says(page, `The server says: already active. Joined ${task}.`);
      assert.equal(starts.length, 2);
    });

    test("a tab that crashes before the answer comes leaves its key, and the next one asks with it", async () => {
      const page = await open("ada", "crash.mp4");
      // The server gets the request, and its answer goes astray.
      let arrived = () => {};
      const asked = new Promise<void>((done) => (arrived = done));
      await page.route("**/api/v1/track", async (route) => {
        await route.fetch();
        arrived();
      });
      await press(page, "Start the analysis");
      await asked;
      await Promise.all([page.waitForEvent("crash"), page.goto("chrome://crash").catch(() => {})]);
      const again = await open("ada", "crash.mp4");
      const start = again.getByRole("button", { name: "Start the analysis" });
      await start.or(again.getByText("is at work")).first().waitFor();
      if (await start.isVisible()) await start.click();
      await words(again, "The analysis of crash.mp4 is at work.");
      await says(again, /The server says: already active. Joined tr_/);
      const sent = await keys();
      assert.equal(sent.length, 2);
      assert.equal(sent[0], sent[1]);
    });

    test("while the service is away the page says so and tries again, with one key", async () => {
      const page = await open("ada", "away.mp4");
      await service.kill();
      await press(page, "Start the analysis");
      await says(page, /The server does not answer: trying again in \d+ s\./);
      await service.restart();
      await words(page, "The analysis of away.mp4 is at work.");
      const sent = await keys();
      assert.ok(sent.length >= 2);
      assert.equal(new Set(sent).size, 1);
    });

    test("offline the page says so, and goes on when the network is back", async () => {
      const page = await open("ada", "offline.mp4");
      await chromium.context.setOffline(true);
      await press(page, "Start the analysis");
      await says(page, /The network is away: trying again in \d+ s\./);
      await chromium.context.setOffline(false);
      await words(page, "The analysis of offline.mp4 is at work.");
      assert.equal(new Set(await keys()).size, 1);
    });

    test("in development, where all is mounted twice, one request is sent and nothing is told twice", async () => {
      const dev = await examplePageInDevelopment(service.origin);
      try {
        const page = await chromium.context.newPage();
        await page.goto(`${dev.origin}/?user=ada&file=strict.mp4`);
        await started(page);
        assert.equal(starts.length, 1);
        const told = await page.getByRole("log").locator("li span").allTextContents();
        assert.equal(told.length, 3);
        assert.equal(new Set(told).size, told.length);
      } finally {
        await dev.close();
      }
    });

    test("a video is chosen from the disk, and all of it goes by keyboard and by name", async () => {
      const page = await chromium.context.newPage();
      await page.goto(site.origin);
      await page.getByRole("button", { name: "Ada Acheson" }).focus();
      await page.keyboard.press("Enter");
      const file = page.getByLabel("Choose a file…");
      await file.setInputFiles({ name: "von der Platte.mp4", mimeType: "video/mp4", buffer: Buffer.from("x") });
      await words(page, "No analysis of von der Platte.mp4 is active.");
      await page.getByRole("radio", { name: "dawn.mp4" }).focus();
      await page.keyboard.press("Space");
      await words(page, "No analysis of dawn.mp4 is active.");
      await page.getByRole("button", { name: "Start the analysis" }).focus();
      await page.keyboard.press("Enter");
      await words(page, "The analysis of dawn.mp4 is at work.");
      const log = page.getByRole("log", { name: "What happened in this tab" });
      assert.equal(await log.getAttribute("aria-live"), "polite");
      await page.getByRole("button", { name: "Cancel" }).focus();
      await page.keyboard.press("Enter");
      await words(page, "The analysis of dawn.mp4 was cancelled. The next start begins a new one.");
    });

    test("it fits a desk and a phone, in light and in dark", async () => {
      const folder = process.env["IDEMP_SCREENSHOTS"];
      const grounds = new Set<string>();
      const page = await open("ada", "harbour-cut-3.mov");
      await started(page);
      for (const [size, viewport] of Object.entries(SIZES)) {
        await page.setViewportSize(viewport);
        for (const colorScheme of ["light", "dark"] as const) {
          await page.emulateMedia({ colorScheme, reducedMotion: "reduce" });
          const seen = await page.evaluate(() => ({
            wide: document.documentElement.scrollWidth,
            ground: getComputedStyle(document.documentElement).backgroundColor,
          }));
          assert.ok(seen.wide <= viewport.width, `${size}: ${seen.wide}`);
          grounds.add(seen.ground);
          const picture = await page.screenshot({ fullPage: true });
          assert.ok(picture.length > 10_000);
          if (folder !== undefined) {
            await mkdir(folder, { recursive: true });
            await page.screenshot({ fullPage: true, path: join(folder, `analysis-page-${size}-${colorScheme}.png`) });
          }
        }
      }
      assert.equal(grounds.size, 2);
    });

    test("the picture of the README is there, and small", async () => {
      const path = join(ROOT, "docs/pictures/analysis-page.png");
      if (process.env["IDEMP_PICTURES"] !== undefined) {
        const page = await open("ada", "dawn.mp4");
        await says(page, "Nothing is active");
        const other = await open("ada", "dawn.mp4");
        const task = await started(other);
        await says(page, `Another tab has started ${task}: shown here, too.`);
        await press(other, "Cancel");
        await says(page, `Another tab has settled ${task}.`);
        await other.close();
        await page.setViewportSize({ width: 1040, height: 760 });
        await page.emulateMedia({ colorScheme: "light", reducedMotion: "reduce" });
        await started(page);
        await says(page, "The server has started");
        await page.screenshot({ path });
      }
      const { size } = await stat(path);
      assert.ok(size < 150_000, `${size} bytes`);
    });
  });
}

const SIZES = {
  desk: { width: 1280, height: 800 },
  phone: { width: 390, height: 844 },
};

/** A new tab of this user with this file. */
async function open(user: string, file: string): Promise<Page> {
  const page = await chromium.context.newPage();
  await page.goto(`${site.origin}/?${new URLSearchParams({ user, file })}`);
  return page;
}

/** Starts the analysis, and gives its task id. */
async function started(page: Page): Promise<string> {
  await press(page, "Start the analysis");
  await page.getByText("is at work").waitFor();
  return taskOf(page);
}

async function press(page: Page, name: string) {
  await page.getByRole("button", { name, exact: true }).click();
}

async function taskOf(page: Page): Promise<string> {
  return (await page.getByLabel("Task id").textContent()) ?? "";
}

/** Waits until the card says this. */
async function words(page: Page, text: string) {
  await page.locator(".words", { hasText: text }).waitFor();
}

/** Waits until the log says this. */
async function says(page: Page, text: string | RegExp) {
  await page.getByRole("log").getByText(text).first().waitFor();
}

function isStart(request: Request): boolean {
  return request.method() === "POST" && new URL(request.url()).pathname === "/api/v1/track";
}

/** The keys of the starts that were sent. */
function keys(): Promise<(string | null)[]> {
  return Promise.all(starts.map((request) => request.headerValue("idempotency-key")));
}
