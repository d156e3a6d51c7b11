import "../../js/src/core/inline.js";
import { createClient, type Client, type ClientEvent, type ClientOptions, type Intent } from "../../js/src/fetch/index.js";

import type { Store } from "../../js/src/store.js";
import { indexedDbStore } from "../../js/src/stores/indexeddb.js";
import { memoryStore } from "../../js/src/stores/memory.js";

/** What a test of a page asks for, by name: only data crosses to the page and back. */
export interface ClientPage {
  client(user: string): Client;
  /** Orders once, as this user; gives the outcome, or the error. */
  order(user: string, intent: Intent, body?: unknown): Promise<Outcome>;
  /** The same, which is not waited for: {@link settled} gives what came of it. */
  startOrder(user: string, intent: Intent, body?: unknown): void;
  settled(): Promise<Outcome>;
  /** Starts at a moment that other tabs know, too. */
  orderAt(moment: number, user: string, intent: Intent): Promise<Outcome>;
  /** POSTs with `client.fetch` under an intent. */
  fetch(user: string, intent: Intent, body: unknown): Promise<{ status: number; text: string; type: string | null }>;
  peek(user: string, intent: Intent): ReturnType<Client["peek"]>;
  settle(user: string, intent: Intent): Promise<void>;
  forgetAll(user: string): Promise<void>;
  /** Counts the wakes of an intent from here on. */
  watch(user: string, intent: Intent): void;
  wakes: number;
  /** Ends when there was a wake since the last call. */
  woken(): Promise<void>;
  events: ClientEvent[];
  /** Work that sends nothing, with the store of a browser and with one in memory. */
  offTheNet(): Promise<[Outcome, Outcome]>;
  /** Begins, and gets no further: the swap after the claim is never made. Ends when it would be. */
  claimOnly(user: string, intent: Intent, body: unknown): Promise<void>;
  /** The names of the Web Locks that are held. */
  locks(): Promise<string[]>;
  /** How the order is sent and what with, for tests of the whole. */
  track(user: string, tenant: string, file: string): Promise<Outcome>;
}

export interface Outcome {
  readonly data?: unknown;
  readonly error?: { name: string; code: unknown; status: unknown; body: unknown; serverCode: unknown };
}

const clients = new Map<string, Client>();
const events: ClientEvent[] = [];
let started: Promise<Outcome> | undefined;
let wake = () => {};
let woken = new Promise<void>((resolve) => (wake = resolve));

function client(user: string): Client {
  let one = clients.get(user);
  if (!one) {
    const retry: ClientOptions["retry"] = { base: 50, attempts: 8 };
    clients.set(user, (one = createClient({ user, retry, onEvent: (event) => events.push(event) })));
  }
  return one;
}

async function outcome(promise: Promise<unknown>): Promise<Outcome> {
  try {
    return { data: await promise };
  } catch (thrown) {
    const { name, code, status, body, serverCode } = thrown as Record<string, unknown>;
    return { error: { name: String(name), code, status, body, serverCode } };
  }
}

const api: ClientPage = {
  client,
  order: (user, intent, body = { intent }) =>
    outcome(
      client(user).once(intent, body, async (work) => {
        const headers = { "content-type": "application/json", "x-user": user };
        const init = { method: "POST", headers, body: JSON.stringify(body) };
        const response = await work.fetch("/orders", init);
        return { ...(await response.json()), key: work.key };
      }),
    ),
  startOrder: (...order) => void (started = api.order(...order)),
  settled: () => started!,
  async orderAt(moment, user, intent) {
    while (Date.now() < moment);
    return api.order(user, intent);
  },
  async fetch(user, intent, body) {
    const headers = { "content-type": "application/json", "x-user": user };
    const init = { method: "POST", headers, body: JSON.stringify(body), intent };
    const response = await client(user).fetch("/orders", init);
    return {
      status: response.status,
      text: await response.text(),
      type: response.headers.get("content-type"),
    };
  },
  peek: (user, intent) => client(user).peek(intent),
  settle: (user, intent) => client(user).settle(intent),
  forgetAll: (user) => client(user).forgetAll(),
  watch: (user, intent) =>
    void client(user).subscribe(intent, () => {
      api.wakes++;
      wake();
    }),
  wakes: 0,
  async woken() {
    await woken;
    woken = new Promise((resolve) => (wake = resolve));
  },
  events,
  async offTheNet() {
    let ran = 0;
    const clients = [createClient({ user: "ada" }), createClient({ user: "ada", store: memoryStore() })];
    const [one, other] = clients.map((client) => outcome(client.once("order", {}, async () => ++ran)));
    return [await one!, await other!];
  },
  claimOnly: (user, intent, body) =>
    new Promise((claimed) => {
      const store = indexedDbStore();
      let swaps = 0;
      const swap: Store["swap"] = (swap) => {
        if (++swaps === 1) return store.swap(swap);
        claimed();
        return new Promise(() => {});
      };
      void createClient({ user, store: { swap } }).once(intent, body, async () => {});
    }),
  async locks() {
    const { held = [] } = await navigator.locks.query();
    return held.map(({ name }) => name ?? "");
  },
  track: (user, tenant, file) =>
    outcome(
      client(user).once(["analysis", tenant, file], { tenant, file }, async (work) => {
        const response = await work.fetch("/api/v1/track", {
          method: "POST",
          headers: { "content-type": "application/json" },
          body: JSON.stringify({ tenant_id: tenant, video_filename: file }),
        });
        return { ...(await response.json()), key: work.key };
      }),
    ),
};

Object.assign(globalThis, { api });
