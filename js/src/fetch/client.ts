import { toBase64 } from "../base64.js";
import { NOTHING } from "../core/bytes.js";
import { StoreError } from "../errors.js";
import { fingerprintOf } from "../core/fingerprint.js";
import { scopePrefix, type Scope } from "../core/slot-key.js";
import { Deciding } from "../deciding.js";
import { milliseconds, type Span } from "../span.js";
import type { Store } from "../store.js";
import { indexedDbStore } from "../stores/indexeddb.js";
import { either, systemClock, type Clock } from "./clock.js";
import { OnceError } from "./errors.js";
import { isTaken } from "./locks.js";
import { isOver, once, policies, type Intended, type OnceEvent, type Place } from "./once.js";
import { freshKey, read } from "./record.js";
import { rebuilt, remembered, Unremembered, type Remembered } from "./remembered.js";
import { ONCE_ONLY, rulesOf, type RetryOptions } from "./retry.js";
import { KEY_HEADER, keyHeader, send } from "./send.js";
import { isRefusal } from "./verdict.js";
import { Wakes } from "./wakes.js";
import { checkWindow, isStreamed, requested, type Work } from "./work.js";

/** What somebody wants done once, such as `["analysis", tenantId, file.name]`: the same words in
 *  every tab and after every reload. */
export type Intent = string | readonly (string | number)[];

export interface ClientOptions {
  /** Who is signed in: intents of one user are unknown to the others. Not empty. */
  user: string | (() => string);
  /** {@link indexedDbStore} by default: the one store of a browser that tabs can share. */
  store?: Store;
  /** How long an intent is remembered that nobody settles; 24 h. */
  expiry?: Span;
  retry?: RetryOptions;
  /** Sends what is sent; the platform's by default. */
  fetch?: typeof fetch;
  /** Told what happens. What it throws changes nothing. */
  onEvent?: (event: ClientEvent) => void;
  /** For tests. */
  clock?: Clock;
}

/** What happened to an intent. */
export type ClientEvent = (OnceEvent | { readonly type: "settled" }) & {
  /** The beginning of the intent's digest. */
  readonly intent: string;
};

/** What is known of an intent. */
export interface Known<T> {
  /** `interrupted`: nobody is at work. An attempt crashed, failed or was aborted, and the next
   *  `once` goes on with its key. */
  readonly status: "pending" | "done" | "interrupted";
  /** The outcome; of one that is not done, what was published so far. */
  readonly data?: T;
  /** What it is sent with. */
  readonly key: string;
}

export interface OnceOptions {
  /** Ends the waiting and the work. The key is kept. */
  signal?: AbortSignal;
  /** How long the intent is remembered that nobody settles; the client's by default. */
  expiry?: Span;
}

export interface FetchInit extends RequestInit {
  /** The key to send; by default a fresh one for each call with POST or PATCH. */
  idempotencyKey?: string;
  /** Keeps the key over reloads, and remembers the answer where it is successful. */
  intent?: Intent;
  /** How to send it again; `false` for not at all. */
  retry?: RetryOptions | false;
}

/** The client of a page: operations that happen once. */
export interface Client {
  /** Tells users apart, without telling who: a digest of who is signed in; `undefined` where nobody
   *  is. */
  readonly user: string | undefined;
  /**
   * Does the work of an intent once: the first call does it, and every other one, in this tab, in
   * another or after a reload, waits for its outcome and resolves with that, until the intent is
   * settled or expires.
   *
   * Where the work fails, is aborted or crashes, its key is kept: the next call with the same
   * payload starts the work again with the same key. Where the server refused it, and nothing was
   * executed, the key is given up, and another payload may come.
   *
   * A work that sends with {@link Work.fetch} is sent again as the client's retry options say.
   * `T` has a JSON form: others get what `JSON.parse` makes of it.
   *
   * Work that calls `once` with its own intent would wait for itself. That is an error where it can be
   * known: up to the first wait of the work, and wherever {@link Work.signal} is handed on.
   *
   * @throws ConflictError where the intent is at work or done with another payload; OnceError
   *   `SETTLED`, where what it waited for was settled or refused meanwhile: nothing was sent again, or
   *   `NESTED`, where it would wait for itself;
   *   StoreError, where nothing was sent; the signal's reason; whatever the work throws.
   */
  once<T>(
    intent: Intent,
    payload: unknown,
    work: (work: Work) => Promise<T>,
    options?: OnceOptions,
  ): Promise<T>;
  /**
   * The platform's `fetch`, sent again where that is safe and may help. It resolves with the last
   * answer, whatever its status, and rejects as the platform's does.
   *
   * A POST or PATCH without the header `Idempotency-Key` is given a fresh key, the same each time
   * that it is sent. GET, HEAD, OPTIONS, PUT, DELETE and TRACE are sent again without one. Bodies
   * are kept in memory until the answer is there; a stream (`duplex: "half"`) is sent once.
   *
   * With an `intent` it is built on {@link Client.once}: the key is kept until the intent is
   * settled, and a successful answer of at most 1 MiB is remembered, and given again to every later
   * call with the same method, address and body, byte for byte. A `FormData` has other bytes every
   * time: use `once` for it.
   */
  fetch(input: RequestInfo | URL, init?: FetchInit): Promise<Response>;
  /** What is known of an intent; starts nothing. */
  peek<T>(intent: Intent): Promise<Known<T> | undefined>;
  /**
   * The intent is over: completed, failed or cancelled. The next `once` starts anew, with a new key
   * and any payload. May be repeated.
   *
   * Work that is in flight is not waited for and not stopped: its caller gets its result, and nobody
   * else does.
   */
  settle(intent: Intent): Promise<void>;
  /** Sign-out: forgets all intents of this user on this machine, as {@link Client.settle} would.
   *
   *  @throws StoreError where the store cannot forget. */
  forgetAll(): Promise<void>;
  /** Calls `listener` whenever something may have changed, here or in another tab, until the
   *  function that comes back is called. The user is the one who is signed in now. */
  subscribe(intent: Intent, listener: () => void): () => void;
  /** Aborts what is at work, and closes the store where the client made it. Keys are kept. */
  close(): void;
}

/**
 * A client for the browser: one key per intent, persisted before anything is sent, over reloads,
 * tabs and crashes.
 *
 * ```ts
 * const client = createClient({ user: session.userId });
 * const { taskId } = await client.once(["analysis", tenant, file.name], body, async (work) => {
 *   const response = await work.fetch("/api/v1/track", { method: "POST", body: JSON.stringify(body) });
 *   return response.json();
 * });
 * await client.settle(["analysis", tenant, file.name]); // completed, failed or cancelled
 * ```
 *
 * @throws RangeError where a span is not positive.
 */
export function createClient(options: ClientOptions): Client {
  const { user, clock = systemClock, onEvent } = options;
  const store = options.store ?? indexedDbStore();
  // Not by `createIdempotency`: a page need not load what it does not use of it.
  const idem = new Deciding({ store });
  const expiry = milliseconds(options.expiry ?? "24h");
  const { active } = policies(expiry);
  const place: Place = {
    idem,
    clock,
    wakes: new Wakes(),
    rules: rulesOf(options.retry),
    // The platform's wants to be called on its global.
    fetch: options.fetch ?? ((input, init) => fetch(input, init)),
  };
  /** What was asked, and how it is ended: a signal of all would be listened to by each. */
  const running = new Map<Promise<unknown>, ReturnType<typeof either>>();
  let closed: OnceError | undefined;

  const scoped = (): { scope: Scope; id: string } => {
    const name = typeof user === "function" ? user() : user;
    if (typeof name !== "string" || name === "") throw new TypeError("nobody is signed in");
    return { scope: ["idemp/fetch", name], id: fingerprintOf(name) };
  };

  const intended = (intent: Intent): Intended => {
    const parts = typeof intent === "string" ? [intent] : intent;
    if (!parts.length || !parts.every((part) => typeof part === "string" || Number.isFinite(part))) {
      throw new TypeError("an intent is text, or a list of texts and numbers");
    }
    const { scope, id } = scoped();
    const key = fingerprintOf(intent);
    return { scope, key, id: id + key };
  };

  const tell = ({ key }: Intended, event: OnceEvent | { type: "settled" }) => {
    try {
      onEvent?.({ ...event, intent: key.slice(2, 10) });
    } catch {
      // A hook that throws changes no result.
    }
  };

  const client: Client = {
    get user() {
      try {
        return scoped().id;
      } catch {
        return undefined;
      }
    },

    async once(intent, payload, work, { signal, expiry: own } = {}) {
      const it = intended(intent);
      const above = calling + (callers.get(signal!) ?? "");
      if (above.includes(it.id)) throw new OnceError("NESTED", false);
      const end = either(signal);
      if (closed) end.abort(closed);
      callers.set(end.signal, above + it.id);
      const carried = once(place, it, fingerprintOf(payload ?? null), {
        work(given) {
          calling = above + it.id;
          try {
            return work(given);
          } finally {
            calling = "";
          }
        },
        signal: end.signal,
        expiry: own === undefined ? expiry : milliseconds(own),
        tell: (event) => tell(it, event),
      });
      running.set(carried, end);
      try {
        return await carried;
      } finally {
        running.delete(carried);
        callers.delete(end.signal);
        end.off();
      }
    },

    async fetch(input, { idempotencyKey, intent, retry, ...init } = {}) {
      const request = requested(input, init);
      const rules =
        retry === undefined ? place.rules : rulesOf(retry ? { ...options.retry, ...retry } : ONCE_ONLY);
      const how = { rules, clock, fetch: place.fetch };
      const named = (key: string | undefined) => {
        if (key !== undefined && !request.headers.has(KEY_HEADER)) {
          request.headers.set(KEY_HEADER, keyHeader(key));
        }
      };
      if (intent === undefined) {
        const keyed = request.method === "POST" || request.method === "PATCH";
        named(idempotencyKey ?? (keyed ? freshKey() : undefined));
        return (await send(request, isStreamed(init), how)).response;
      }
      const body = toBase64(new Uint8Array(await request.clone().arrayBuffer()));
      const payload = [request.method, request.url, body];
      let live: Response | undefined;
      try {
        const answer = await client.once<Remembered>(
          intent,
          payload,
          async ({ key, since, signal }) => {
            let doubt = false;
            checkWindow(since, rules, clock);
            named(idempotencyKey ?? key);
            const { response, verdict } = await send(requested(request, undefined, signal), false, {
              ...how,
              since,
              onAttempt: ({ verdict }) => (doubt ||= !verdict || !isRefusal(verdict)),
            });
            const answer = response.ok ? await remembered(response) : undefined;
            if (!answer) throw new Unremembered(response, doubt || verdict !== "refused");
            live = response;
            return answer;
          },
          { signal: request.signal },
        );
        return live ?? rebuilt(answer);
      } catch (error) {
        if (error instanceof Unremembered) return error.response;
        throw error;
      }
    },

    async peek<T>(intent: Intent) {
      const { scope, key, id } = intended(intent);
      const lies = await idem.peek(scope, key, active);
      const note = read(lies?.body);
      if (!lies || !note) return undefined;
      const data = "data" in note ? { data: note.data as T } : {};
      if (lies.live && note.done) return { status: "done", key: note.key, ...data };
      // A lease outlives a tab that died, and ends in one whose timers are late: its lock tells.
      const pending = (await isTaken(id)) ?? lies.live;
      if (!pending && !lies.live && isOver(note, clock, expiry)) return undefined;
      return { status: pending ? "pending" : "interrupted", key: note.key, ...data };
    },

    async settle(intent) {
      const it = intended(intent);
      for (;;) {
        const lies = await idem.peek(it.scope, it.key, active);
        // Stale: another attempt began meanwhile, and that one is over, too.
        if (!lies || (await lies.lease.finish(NOTHING)).type === "ended") break;
      }
      tell(it, { type: "settled" });
      place.wakes.wake(it.id, true);
    },

    async forgetAll() {
      const { scope, id } = scoped();
      if (!store.forget) {
        throw new StoreError("STORE_UNUSABLE", { advice: "it cannot forget what is one user's" });
      }
      await store.forget(scopePrefix(scope));
      place.wakes.wake(id, true);
    },

    subscribe: (intent, listener) => place.wakes.listen(intended(intent).id, () => listener()),

    close() {
      closed = new OnceError("CLOSED", false);
      for (const end of running.values()) end.abort(closed);
      void Promise.allSettled(running.keys()).then(async () => {
        place.wakes.close();
        if (!options.store) await store.close?.();
      });
    },
  };
  return client;
}

/** In whose work something is called that has not waited yet: the ids, digests that no other text holds.
 *  No other work runs inside it, since that begins after a wait. */
let calling = "";

/** The same where the work hands on its signal. */
const callers = new WeakMap<AbortSignal, string>();
