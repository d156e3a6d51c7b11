import assert from "node:assert/strict";
import { join } from "node:path";
import { after, before, beforeEach, suite, test } from "node:test";
import type { Page } from "playwright-core";

import { launch, type Chromium } from "./chromium.js";
import type { ClientPage, Outcome } from "./client-page.js";
import { orders, type Orders } from "./orders-server.js";
import { bundle, page, serve, type PagesServer } from "./pages-server.js";

declare const api: ClientPage;

suite("the client in Chromium", { timeout: 240_000 }, () => {
  let chromium: Chromium;
  let server: PagesServer;
  let service: Orders;
  let tabs: Page[] = [];
  let count = 0;

  before(async () => {
    const script = await bundle(join(import.meta.dirname, "client-page.ts"));
    server = await serve({
      "/": page("/page.js"),
      "/page.js": script,
      "/sandbox": page("/page.js", { "content-security-policy": "sandbox allow-scripts" }),
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
    await opened.goto(server.origin);
    await opened.waitForFunction(() => "api" in globalThis);
    return opened;
  }
  /** An intent that no other test knows. */
  const intent = (): [string, number] => ["order", ++count];
  const order = (tab: Page, user: string, it: [string, number], body?: unknown): Promise<Outcome> =>
    tab.evaluate(([user, it, body]) => api.order(user, it, body), [user, it, body] as const);
  const startOrder = (tab: Page, user: string, it: [string, number]): Promise<void> =>
    tab.evaluate(([user, it]) => api.startOrder(user, it), [user, it] as const);
  const settled = (tab: Page): Promise<Outcome> => tab.evaluate(() => api.settled());
  const peek = (tab: Page, user: string, it: [string, number]) =>
    tab.evaluate(([user, it]) => api.peek(user, it), [user, it] as const);
  const settle = (tab: Page, user: string, it: [string, number]): Promise<void> =>
    tab.evaluate(([user, it]) => api.settle(user, it), [user, it] as const);

  test("two tabs race for one intent, 300 rounds: one request a round", async () => {
    const both = [await tab(), await tab()];
    for (let round = 1; round <= 300; round++) {
      const it = intent();
      const moment = Date.now() + 5;
      const [one, other] = await Promise.all(
        both.map((tab) =>
          tab.evaluate(([moment, it]) => api.orderAt(moment, "ada", it), [moment, it] as const),
        ),
      );
      assert.equal(service.requests.length, round, `round ${round}`);
      assert.equal(service.executions.length, round, `round ${round}`);
      assert.deepEqual(one, { data: { id: round, key: service.requests.at(-1)!.slice(1, -1) } });
      assert.deepEqual(other, one);
    }
  });

  test("a tab is closed in mid-request: the next one goes on with the same key, at once", async () => {
    const it = intent();
    const first = await tab();
    service.shut();
    await startOrder(first, "ada", it);
    await service.came(1);
    await first.close();
    const second = await tab();
    const began = Date.now();
    await startOrder(second, "ada", it);
    await service.came(2);
    assert.ok(Date.now() - began < 5_000, "it does not wait for a lease of half a minute");
    service.open();
    const key = service.executions[0]!.key.slice(1, -1);
    assert.deepEqual(await settled(second), { data: { id: 1, key } });
    assert.equal(new Set(service.requests).size, 1);
    assert.equal(service.executions.length, 1);
  });

  test("a renderer crashes in mid-request: the page that is opened anew goes on with the same key", async () => {
    const it = intent();
    const first = await tab();
    service.shut();
    await startOrder(first, "ada", it);
    await service.came(1);
    const crashed = first.waitForEvent("crash");
    const session = await chromium.context.newCDPSession(first);
    session.send("Page.crash").catch(() => {});
    await crashed;
    const anew = await tab();
    const known = await peek(anew, "ada", it);
    assert.deepEqual(known, { status: "interrupted", key: service.requests[0]!.slice(1, -1) });
    service.open();
    assert.deepEqual(await order(anew, "ada", it), { data: { id: 1, key: known!.key } });
    assert.equal(new Set(service.requests).size, 1);
    assert.equal(service.executions.length, 1);
  });

  test("a tab that waits takes over from one that dies", async () => {
    const it = intent();
    const [first, second] = [await tab(), await tab()];
    service.shut();
    await startOrder(first, "ada", it);
    await service.came(1);
    await startOrder(second, "ada", it);
    while ((await second.evaluate(() => navigator.locks.query())).pending!.length === 0);
    await first.close();
    await service.came(2);
    service.open();
    const { data } = await settled(second);
    assert.deepEqual(data, { id: 1, key: service.requests[0]!.slice(1, -1) });
    assert.equal(new Set(service.requests).size, 1);
  });

  test("a tab that died between its claim and its key binds nobody: nothing was sent", async () => {
    const it = intent();
    const [first, second] = [await tab(), await tab()];
    await first.evaluate(([it, body]) => api.claimOnly("ada", it, body), [it, { size: 1 }] as const);
    const inFlight = await order(second, "ada", it, { size: 2 });
    assert.equal(inFlight.error?.code, "CONFLICT", "while it lives");
    await first.close();
    while ((await second.evaluate(() => navigator.locks.query())).held!.length > 0);
    const { data } = await order(second, "ada", it, { size: 2 });
    assert.equal((data as { id: number }).id, 1);
    assert.equal(service.requests.length, 1);
  });

  test("after a reload the outcome is there, and nothing is sent", async () => {
    const it = intent();
    const one = await tab();
    const outcome = await order(one, "ada", it);
    await one.reload();
    await one.waitForFunction(() => "api" in globalThis);
    const known = await peek(one, "ada", it);
    assert.deepEqual([known?.status, known?.data], ["done", outcome.data]);
    assert.deepEqual(await order(one, "ada", it), outcome);
    assert.equal(service.requests.length, 1);
  });

  test("three tabs of one user and two of another: one request a user, no cross-talk", async () => {
    const it = intent();
    const five = await Promise.all([tab(), tab(), tab(), tab(), tab()]);
    const users = ["ada", "ada", "ada", "grace", "grace"];
    const outcomes = await Promise.all(five.map((tab, n) => order(tab, users[n]!, it)));
    assert.deepEqual(service.executions.map(({ user }) => user).sort(), ["ada", "grace"]);
    assert.equal(service.requests.length, 2);
    const [ada, , , grace] = outcomes.map(({ data }) => data);
    assert.notDeepEqual(ada, grace);
    assert.deepEqual(outcomes.map(({ data }) => data), [ada, ada, ada, grace, grace]);
  });

  test("offline and back: it is sent when the network is there again", async () => {
    const it = intent();
    const one = await tab();
    await chromium.context.setOffline(true);
    await startOrder(one, "ada", it);
    await one.waitForFunction(() => api.events.some((event) => event.type === "sent"));
    assert.equal(service.requests.length, 0);
    const began = Date.now();
    await chromium.context.setOffline(false);
    const { data } = await settled(one);
    assert.ok(Date.now() - began < 10_000, "the wait of 30 s ends when the page is online");
    assert.equal((data as { id: number }).id, 1);
    assert.equal(service.requests.length, 1);
  });

  test("settled in one tab, it starts anew in another, with a new key and another payload", async () => {
    const it = intent();
    const [first, second] = [await tab(), await tab()];
    await order(first, "ada", it, { size: 1 });
    const refused = await order(second, "ada", it, { size: 2 });
    assert.equal(refused.error?.code, "CONFLICT");
    await settle(second, "ada", it);
    await settle(second, "ada", it);
    assert.equal(await peek(first, "ada", it), undefined);
    const anew = await order(first, "ada", it, { size: 2 });
    assert.equal((anew.data as { id: number }).id, 2);
    assert.equal(new Set(service.requests).size, 2);
  });

  test("settled while it is in flight elsewhere: the next one starts at once, and stands", async () => {
    const it = intent();
    const [first, second] = [await tab(), await tab()];
    service.shut();
    await startOrder(first, "ada", it);
    await service.came(1);
    await settle(second, "ada", it);
    const began = Date.now();
    await startOrder(second, "ada", it);
    await service.came(2);
    assert.ok(Date.now() - began < 5_000, "the first one hears of it, and frees its lock");
    service.open();
    const [one, other] = [await settled(first), await settled(second)];
    assert.equal(new Set(service.requests).size, 2);
    assert.notDeepEqual(one, other, "each has its own result");
    assert.deepEqual((await peek(first, "ada", it))?.data, other.data, "the late one changed nothing");
  });

  test("another payload is told so while the first one is in flight", async () => {
    const it = intent();
    const [first, second] = [await tab(), await tab()];
    service.shut();
    await startOrder(first, "ada", it);
    await service.came(1);
    const { error } = await order(second, "ada", it, { other: true });
    assert.equal(error?.code, "CONFLICT");
    service.open();
    assert.ok((await settled(first)).data);
  });

  test("a refusal gives the key up, so that a mended payload may come", async () => {
    const it = intent();
    const one = await tab();
    service.refuseNext(400, { code: "TOO_LARGE", requestId: "req_1" });
    const { error } = await order(one, "ada", it, { size: 1e9 });
    assert.deepEqual(error, {
      name: "RefusedError",
      code: "REFUSED",
      status: 400,
      body: { code: "TOO_LARGE", requestId: "req_1" },
      serverCode: "TOO_LARGE",
    });
    assert.ok((await order(one, "ada", it, { size: 1 })).data);
    assert.equal(new Set(service.requests).size, 2);
  });

  test("at sign-out all intents of the user are forgotten, and nobody else's", async () => {
    const its = [intent(), intent()];
    const [first, second] = [await tab(), await tab()];
    for (const it of its) await order(first, "ada", it);
    await order(first, "ada2", its[0]!);
    await second.evaluate(([it]) => api.watch("ada", it!), [its[1]]);
    await first.evaluate(() => api.forgetAll("ada"));
    await second.evaluate(() => api.woken());
    for (const it of its) assert.equal(await peek(second, "ada", it), undefined);
    assert.equal((await peek(second, "ada2", its[0]!))?.status, "done");
  });

  test("another tab hears of a start, an outcome and a settle", async () => {
    const it = intent();
    const [first, second] = [await tab(), await tab()];
    await second.evaluate((it) => api.watch("ada", it), it);
    service.shut();
    await startOrder(first, "ada", it);
    await second.evaluate(() => api.woken());
    assert.equal((await peek(second, "ada", it))?.status, "pending");
    service.open();
    await settled(first);
    await second.evaluate(() => api.woken());
    assert.equal((await peek(second, "ada", it))?.status, "done");
    await settle(first, "ada", it);
    await second.evaluate(() => api.woken());
    assert.equal(await peek(second, "ada", it), undefined);
  });

  test("fetch with an intent gives the remembered answer to a reload, byte for byte", async () => {
    const it = intent();
    const one = await tab();
    const ask = () => one.evaluate((it) => api.fetch("ada", it, { size: 1 }), it);
    service.refuseNext(422, { code: "NOT_NOW" });
    assert.equal((await ask()).status, 422, "an error is handed on, and not remembered");
    const first = await ask();
    assert.deepEqual(first, { status: 201, text: '{"id":1}', type: "application/json" });
    await one.reload();
    await one.waitForFunction(() => "api" in globalThis);
    assert.deepEqual(await ask(), first);
    assert.equal(service.requests.length, 2);
  });

  test("no name of a user or an intent is in a lock, an event or the database's keys but the scope's", async () => {
    const it: [string, number] = ["secret-intent", 7];
    const one = await tab();
    service.shut();
    await startOrder(one, "ada-lovelace", it);
    await service.came(1);
    const [names, events] = await one.evaluate(async () => [await api.locks(), JSON.stringify(api.events)] as const);
    assert.equal(names.length, 1);
    assert.doesNotMatch(names.join() + events, /secret|lovelace/);
    assert.ok(!events.includes(service.requests[0]!.slice(1, -1)), "nor the key");
    service.open();
    await settled(one);
  });

  test("a sandboxed page has no store and no locks: nothing starts, unless it brings a store of its own", async () => {
    const one = await tab();
    await one.goto(`${server.origin}/sandbox`);
    await one.waitForFunction(() => "api" in globalThis);
    const [withIndexedDb, inMemory] = await one.evaluate(() => api.offTheNet());
    assert.equal(withIndexedDb.error?.code, "STORE_UNUSABLE");
    assert.deepEqual(inMemory, { data: 1 });
  });
});
