import assert from "node:assert/strict";
import { join } from "node:path";
import { after, before, suite, test } from "node:test";
import type { Page } from "playwright-core";

import { launch, type Chromium } from "./chromium.js";
import type { ClientPage, Outcome } from "./client-page.js";
import { bundle, page, serve, type PagesServer } from "./pages-server.js";
import { videoTasks, type VideoTasks } from "./video-tasks.js";

declare const api: ClientPage;

interface Tracked {
  task_id: string;
  message: string;
  key: string;
}

// The first time the service in Rust is built.
for (const language of ["Rust", "Express"] as const) {
  suite(`the client in Chromium with the demo service in ${language}`, { timeout: 900_000 }, () => {
    let chromium: Chromium;
    let server: PagesServer;
    let service: VideoTasks;

    before(async () => {
      const script = await bundle(join(import.meta.dirname, "client-page.ts"));
      service = await videoTasks(language);
      server = await serve({ "/": page("/page.js"), "/page.js": script, "*": service.pass });
      chromium = await launch();
    });
    after(async () => {
      await chromium.close();
      await server.close();
      await service.close();
    });

    async function tab(): Promise<Page> {
      const opened = await chromium.context.newPage();
      await visit(opened);
      return opened;
    }
    async function visit(tab: Page): Promise<void> {
      await tab.goto(server.origin);
      await tab.waitForFunction(() => "api" in globalThis);
    }
    async function track(tab: Page, file: string): Promise<Tracked> {
      const { data, error }: Outcome = await tab.evaluate((file) => api.track("ada", "acme", file), file);
      assert.equal(error, undefined);
      return data as Tracked;
    }
    const sent = () => service.passed.length;
    const end = (id: string, how: string) =>
      fetch(`${service.origin}/api/v1/track/${id}/${how}`, { method: "POST" });

    test("two tabs and a reload have one analysis, and one request started it", async () => {
      const [first, second] = [await tab(), await tab()];
      const before = sent();
      const [one, other] = await Promise.all([track(first, "two.mp4"), track(second, "two.mp4")]);
      assert.deepEqual(one, other);
      await visit(first);
      assert.deepEqual(await track(first, "two.mp4"), one);
      assert.equal(sent() - before, 1);
      assert.equal(one.message, "Analysis started");
    });

    test("after the storage was cleared the server still answers: its natural key holds", async () => {
      const one = await tab();
      const first = await track(one, "cleared.mp4");
      await one.goto("about:blank");
      const session = await chromium.context.newCDPSession(one);
      await session.send("Storage.clearDataForOrigin", { origin: server.origin, storageTypes: "all" });
      await visit(one);
      assert.equal(await one.evaluate(() => api.peek("ada", ["analysis", "acme", "cleared.mp4"])), undefined);
      const second = await track(one, "cleared.mp4");
      assert.notEqual(second.key, first.key);
      assert.equal(second.task_id, first.task_id);
      assert.equal(second.message, "Analysis already in progress");
    });

    test("an answer that is lost on its way is asked for again, with the same key", async () => {
      const one = await tab();
      const before = sent();
      service.loseNext();
      const tracked = await track(one, "lost.mp4");
      const both = service.passed.slice(before);
      assert.deepEqual(both.map(({ status }) => status), [201, 200]);
      assert.deepEqual(both.map(({ key }) => key), [`"${tracked.key}"`, `"${tracked.key}"`]);
    });

    test("completed and settled, the next one is a new analysis", async () => {
      const [first, second] = [await tab(), await tab()];
      const { task_id } = await track(first, "again.mp4");
      assert.equal((await end(task_id, "complete")).status, 200);
      assert.equal((await track(second, "again.mp4")).task_id, task_id, "nobody told the client");
      await second.evaluate(() => api.settle("ada", ["analysis", "acme", "again.mp4"]));
      const anew = await track(first, "again.mp4");
      assert.notEqual(anew.task_id, task_id);
      assert.equal(anew.message, "Analysis started");
    });

    test("an order whose answer is lost is placed once: the retry is a replay", async () => {
      const one = await tab();
      const before = sent();
      service.loseNext();
      const answer = await one.evaluate(async () => {
        const response = await api.client("grace").fetch("/api/video-tasks", {
          method: "POST",
          headers: { authorization: "Bearer 793ccc64", "content-type": "application/json" },
          body: JSON.stringify({ prompt: "A lighthouse at dawn", duration: 5 }),
        });
        return { status: response.status, replayed: response.headers.get("idempotent-replayed") };
      });
      assert.deepEqual(answer, { status: 201, replayed: "true" });
      assert.deepEqual(service.passed.slice(before).map(({ status }) => status), [201, 201]);
      const headers = { authorization: "Bearer 793ccc64" };
      const tasks = (await (await fetch(`${service.origin}/api/video-tasks`, { headers })).json()) as object;
      assert.equal(JSON.stringify(tasks).match(/vt_/g)?.length, 1);
    });
  });
}
