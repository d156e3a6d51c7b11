import assert from "node:assert/strict";
import { join } from "node:path";
import { after, before, beforeEach, suite, test } from "node:test";
import type { Page } from "playwright-core";

import { launch, type Chromium } from "./chromium.js";
import type { HookPage, OrderProps } from "./hook-page.js";
import { orders, type Orders } from "./orders-server.js";
import { bundle, page, serve, type PagesServer } from "./pages-server.js";

declare const api: HookPage;

suite("useOnce in Chromium, in strict mode", { timeout: 120_000 }, () => {
  let chromium: Chromium;
  let server: PagesServer;
  let service: Orders;
  let tabs: Page[] = [];
  let count = 0;

  before(async () => {
    const script = await bundle(join(import.meta.dirname, "hook-page.tsx"));
    server = await serve({
      "/": page("/page.js"),
      "/page.js": script,
      "/orders": (request, response) => service.handle(request, response),
    });
    chromium = await launch();
  });
  after(async () => {
    await chromium.close();
    await server.close();
  });
  beforeEach(async () => {
    await Promise.all(tabs.splice(0).map((tab) => tab.close()));
    service = orders();
  });

  async function tab(): Promise<Page> {
    const opened = await chromium.context.newPage();
    tabs.push(opened);
    await visit(opened);
    return opened;
  }
  async function visit(tab: Page): Promise<void> {
    await tab.goto(server.origin);
    await tab.waitForFunction(() => "api" in globalThis);
  }
  const intent = () => `order-${++count}`;
  const render = (tab: Page, props: OrderProps | undefined) =>
    tab.evaluate((props) => api.render(props ?? undefined), props);
  const shows = (tab: Page, status: string, id?: number) =>
    tab.waitForFunction(
      ([status, id]) => {
        const seen = api.seen.at(-1);
        return seen?.status === status && seen.data?.id === (id ?? undefined);
      },
      [status, id] as const,
    );

  /** Ends when so many wait for a lock. */
  const waiting = async (tab: Page, count: number) => {
    const end = Date.now() + 10_000;
    while ((await tab.evaluate(() => api.waiting())) !== count) {
      assert.ok(Date.now() < end, `${count} wait`);
    }
  };

  test("work starts once under double effects", async () => {
    const one = await tab();
    await render(one, { intent: intent(), auto: true });
    await shows(one, "success", 1);
    assert.equal(await one.evaluate(() => api.begun), 1);
    assert.equal(service.requests.length, 1);
  });

  test("without `auto` it starts when it is told to", async () => {
    const one = await tab();
    await render(one, { intent: intent() });
    await shows(one, "idle");
    service.shut();
    await one.evaluate(() => {
      void api.start();
      void api.start();
    });
    await service.came(1);
    assert.equal(await one.evaluate(() => api.waiting()), 0, "the second start is none");
    service.open();
    await shows(one, "success", 1);
    assert.equal(service.requests.length, 1);
  });

  test("a reload shows the outcome, and starts nothing", async () => {
    const it = intent();
    const one = await tab();
    await render(one, { intent: it, auto: true });
    await shows(one, "success", 1);
    await visit(one);
    await render(one, { intent: it });
    await shows(one, "success", 1);
    await visit(one);
    await render(one, { intent: it, auto: true });
    await shows(one, "success", 1);
    assert.equal(await one.evaluate(() => api.begun), 0);
    const shown = await one.evaluate(() => api.seen.map(({ status }) => status));
    assert.ok(!shown.includes("pending"), "what is done is not asked for again");
    assert.equal(service.requests.length, 1);
  });

  test("another tab's start, publication, outcome and settle show up", async () => {
    const it = intent();
    const [first, second] = [await tab(), await tab()];
    await render(second, { intent: it });
    await shows(second, "idle");
    service.shut();
    await render(first, { intent: it, auto: true });
    await service.came(1);
    await shows(second, "pending");
    assert.deepEqual(await second.evaluate(() => api.seen.at(-1)!.data), { intent: it }, "what was published");
    service.open();
    await shows(second, "success", 1);
    await second.evaluate(() => api.settle());
    await shows(first, "idle");
    await shows(second, "idle");
    assert.equal(service.requests.length, 1);
  });

  test("a reload in mid-request goes on with the same key, when it is told to", async () => {
    const it = intent();
    const one = await tab();
    service.shut();
    await render(one, { intent: it, auto: true });
    await service.came(1);
    await visit(one);
    await render(one, { intent: it });
    await one.waitForFunction(() => api.seen.at(-1)?.data !== undefined);
    assert.equal(await one.evaluate(() => api.seen.at(-1)!.status), "idle", "nobody is at work");
    service.open();
    await one.evaluate(() => api.start());
    await shows(one, "success", 1);
    assert.equal(new Set(service.requests).size, 1);
  });

  test("no result of a former intent is shown for a new one", async () => {
    const [slow, quick] = [intent(), intent()];
    const one = await tab();
    service.shut();
    await render(one, { intent: slow, auto: true });
    await service.came(1);
    service.open();
    await render(one, { intent: quick, auto: true });
    await shows(one, "success", 2);
    const seen = await one.evaluate(() => api.seen);
    for (const { intent, data } of seen) assert.ok(data === undefined || data.intent === intent);
    await render(one, { intent: slow });
    await shows(one, "success", 1);
    assert.equal(service.requests.length, 2, "the work that had begun went on");
  });

  test("to unmount ends what only waits, and nothing else", async () => {
    const it = intent();
    const [first, second] = [await tab(), await tab()];
    service.shut();
    await render(first, { intent: it, auto: true });
    await service.came(1);
    await render(second, { intent: it, auto: true });
    await waiting(second, 1);
    await render(second, undefined);
    await waiting(second, 0);
    await render(first, undefined);
    service.open();
    await render(second, { intent: it });
    await shows(second, "success", 1);
    assert.equal(service.requests.length, 1);
  });

  test("an error is shown, and a retry is a new attempt", async () => {
    const one = await tab();
    service.refuseNext(500, {});
    await render(one, { intent: intent(), auto: true });
    await one.waitForFunction(() => api.seen.at(-1)?.error === "SERVER_FAILED");
    await one.evaluate(() => api.start());
    await shows(one, "success", 1);
    const seen = await one.evaluate(() => api.seen.at(-1)!.error);
    assert.equal(seen, undefined);
    assert.equal(new Set(service.requests).size, 1, "with the same key");
  });

  test("settled, it starts anew with a new key", async () => {
    const one = await tab();
    await render(one, { intent: intent() });
    await one.evaluate(() => api.start());
    await shows(one, "success", 1);
    await one.evaluate(() => api.settle());
    await shows(one, "idle");
    await one.evaluate(() => api.start());
    await shows(one, "success", 2);
    assert.equal(new Set(service.requests).size, 2);
  });

  test("settled in mid-work, its result is not shown", async () => {
    const one = await tab();
    service.shut();
    await render(one, { intent: intent(), auto: true });
    await service.came(1);
    await one.evaluate(() => api.settle());
    const ended = one.waitForResponse((response) => response.url().endsWith("/orders"));
    service.open();
    await (await ended).finished();
    await one.evaluate(() => api.start());
    await shows(one, "success", 2);
    const ids = await one.evaluate(() => api.seen.map(({ data }) => data?.id));
    assert.ok(!ids.includes(1));
  });

  test("after another person signed in, nothing of the former one's is shown", async () => {
    const it = intent();
    const one = await tab();
    await render(one, { intent: it });
    await one.evaluate(() => api.start());
    await shows(one, "success", 1);
    await one.evaluate(() => {
      api.signIn("grace");
      api.seen.length = 0;
    });
    await render(one, { intent: it });
    await shows(one, "idle");
    const ids = await one.evaluate(() => api.seen.map(({ data }) => data?.id ?? null));
    assert.ok(ids.every((id) => id === null), `${ids}`);
  });

  test("not enabled, it looks at nothing and starts nothing", async () => {
    const it = intent();
    const one = await tab();
    await render(one, { intent: it, auto: true, enabled: false });
    await one.evaluate(() => api.start());
    await shows(one, "idle");
    assert.equal(service.requests.length, 0);
    await render(one, { intent: it, auto: true });
    await shows(one, "success", 1);
  });
});
