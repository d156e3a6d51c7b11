import "../src/core/server.js";
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { setImmediate } from "node:timers/promises";
import { suite, test } from "node:test";
import { inspect } from "node:util";

import { fingerprintOf } from "../src/core/fingerprint.js";
import { storedHead } from "../src/core/http.js";
import { core, useCore } from "../src/core/registry.js";
import { eventText, jsonLabel, logEvents, type EventHook, type IdempEvent } from "../src/entries/events.js";
import { StoreError } from "../src/errors.js";
import { createIdempotency, type IdempotencyOptions } from "../src/idempotency.js";
import type { Store } from "../src/store.js";
import { memoryStore } from "../src/stores/memory.js";

const SCOPE = ["793ccc64-0000-4000-8000-000000000000"];
const KEY = "final-1769660861";
const PAYLOAD = fingerprintOf({ amount: 5 });
const bytes = (text: string) => new TextEncoder().encode(text);

/** With a hook that writes down, or with others. */
function watched(options: Partial<IdempotencyOptions> = {}) {
  const events: IdempEvent[] = [];
  const onEvent = (event: IdempEvent) => events.push(event);
  return { idem: createIdempotency({ store: memoryStore(), onEvent, ...options }), events };
}

const kinds = (events: IdempEvent[]) => events.map(({ kind }) => kind);

suite("a hook", () => {
  test("hears a run, and its repetition", async () => {
    const { idem, events } = watched({ label: jsonLabel("id"), retention: "24h" });
    for (let call = 0; call < 2; call++) await idem.run(SCOPE, KEY, 1, () => ({ id: "vt_4e80c173" }));
    assert.deepEqual(events.map(eventText), [
      "[IDEMP] CHECK user=793ccc64... key=final-17...",
      "[IDEMP] MISS user=793ccc64... key=final-17...",
      "[IDEMP] STORE START user=793ccc64... key=final-17... task=vt_4e80c173",
      "[IDEMP] STORED user=793ccc64... key=final-17... → task=vt_4e80c173 (TTL=24h)",
      "[IDEMP] CHECK user=793ccc64... key=final-17...",
      "[IDEMP] HIT user=793ccc64... key=final-17... → task=vt_4e80c173",
    ]);
  });

  test("hears of a value without a JSON form, and of work that throws", async () => {
    const { idem, events } = watched();
    await assert.rejects(idem.run(SCOPE, "a", 1, () => 5n), TypeError);
    await assert.rejects(idem.run(SCOPE, "b", 1, () => Promise.reject(new Error("no"))));
    assert.deepEqual(kinds(events), ["CHECK", "MISS", "UNSTORABLE", "CHECK", "MISS", "RELEASED"]);
  });

  test("hears of a check and of a store's start before the store is asked", async () => {
    const order: string[] = [];
    const inner = memoryStore();
    const store: Store = { swap: (swap) => (order.push("asked"), inner.swap(swap)) };
    const { idem } = watched({ store, onEvent: ({ kind }) => order.push(kind) });
    await idem.run(SCOPE, KEY, 1, () => 1);
    assert.deepEqual(order, ["CHECK", "asked", "MISS", "STORE START", "asked", "STORED"]);
  });

  test("is told how long a step took once it has ended, on a clock that nobody sets", async (t) => {
    t.mock.method(Date, "now", () => 0);
    let answer!: () => void;
    const inner = memoryStore();
    const store: Store = {
      async swap(swap) {
        await new Promise<void>((resolve) => (answer = resolve));
        return inner.swap(swap);
      },
    };
    const { idem, events } = watched({ store });
    const began = performance.now();
    const decided = idem.begin(SCOPE, KEY, PAYLOAD);
    while (performance.now() - began < 20) await setImmediate();
    answer();
    await decided;
    const [check, miss] = events;
    assert.equal(check!.durationMs, undefined);
    assert.ok(miss!.durationMs! >= 15 && miss!.durationMs! <= performance.now() - began, `${miss!.durationMs}`);
  });

  test("may be several; each hears of everything, and none spoils an event for the next", async () => {
    const heard: string[][] = [[], []];
    const meddling: EventHook = (event) => {
      heard[0]!.push(event.kind);
      (event as { kind: string }).kind = "HIT";
    };
    const { idem } = watched({ onEvent: [meddling, ({ kind }) => heard[1]!.push(kind)] });
    await idem.begin(SCOPE, KEY, PAYLOAD);
    assert.deepEqual(heard, [["CHECK", "MISS"], ["CHECK", "MISS"]]);
  });

  test("that throws, or rejects, or gives something that cannot be awaited, changes no result", async () => {
    const stray: unknown[] = [];
    const seen = (error: unknown) => void stray.push(error);
    process.on("unhandledRejection", seen);
    const fail = () => {
      throw new Error("a hook failed");
    };
    const hostile: EventHook[] = [
      fail,
      async () => fail(),
      () => ({ then: fail }),
      () => Object.defineProperty({}, "then", { get: fail }),
      () => Promise.reject(undefined),
    ];
    const heard: string[] = [];
    const store = memoryStore();
    try {
      const { idem } = watched({
        store,
        onEvent: [...hostile, ({ kind }) => heard.push(kind)],
        label: fail,
      });
      assert.equal(await idem.run(SCOPE, KEY, 1, () => 7), 7);
      assert.equal(await idem.run(SCOPE, KEY, 1, () => assert.fail("it ran again")), 7);
      await setImmediate();
      assert.deepEqual(stray, []);
    } finally {
      process.off("unhandledRejection", seen);
    }
    assert.deepEqual(heard, ["CHECK", "MISS", "STORE START", "STORED", "CHECK", "HIT"]);
  });

  test("is not asked for: nothing is looked up, and nothing is labelled", async () => {
    const idem = createIdempotency({ store: memoryStore(), label: () => assert.fail("it was labelled") });
    await idem.run(SCOPE, KEY, 1, () => 1);
  });

  test("hears an error that is none of a store's as unexpected, and the caller has it", async () => {
    const broken = new TypeError("secret of a driver");
    const { idem, events } = watched({ store: { swap: () => Promise.reject(broken) } });
    await assert.rejects(idem.begin(SCOPE, KEY, PAYLOAD), broken);
    assert.deepEqual(events.map(eventText), [
      "[IDEMP] CHECK user=793ccc64... key=final-17...",
      "[IDEMP] FAILED user=793ccc64... key=final-17... unexpected error",
    ]);
    assert.doesNotMatch(inspect(events), /secret/);
  });

  test("hears nothing where nothing was asked: a key that is none, a token that is none", async () => {
    const { idem, events } = watched();
    await assert.rejects(idem.begin(SCOPE, "a\nb", PAYLOAD), { code: "KEY_INVALID" });
    await assert.rejects(async () => idem.begin(SCOPE, KEY, PAYLOAD, { retention: 0 }), { code: "SPAN_INVALID" });
    assert.throws(() => idem.resume("none"), { code: "TOKEN_INVALID" });
    assert.equal(await idem.peek(SCOPE, KEY), undefined);
    assert.deepEqual(events, []);
  });

  test("that is none, and a place that is none, are refused", () => {
    const store = memoryStore();
    const wrong = [
      { onEvent: "log" },
      { onEvent: [console.log, undefined] },
      { onEvent: () => {}, label: "id" },
      ...[-1, 0.5, Number.NaN, "0"].map((userPart) => ({ onEvent: () => {}, userPart })),
    ];
    for (const options of wrong) {
      assert.throws(() => createIdempotency({ store, ...options } as never), { code: "OPTION_INVALID" });
    }
  });
});

test("no event holds a raw user, key, body, fingerprint or token", async () => {
  const { idem, events } = watched({ store: memoryStore(), label: () => "vt_1" });
  const [user, key, body] = ["user-of-many-letters", "key-of-many-letters", "body-of-many-letters"];
  const payload = fingerprintOf("payload");
  const decision = await idem.begin([user, "another-part"], key, payload);
  assert.ok(decision.type === "miss");
  await decision.lease.publish(bytes(body));
  const { token } = decision.lease;
  await idem.resume(token).finish(bytes(body));
  await idem.begin([user, "another-part"], key, payload);
  assert.equal(events.length, 7);
  const text = inspect(events, { depth: 9, showHidden: true }) + JSON.stringify(events);
  assert.match(text, /user-of-\.\.\..*key-of-m\.\.\./s);
  const { owner, rev } = JSON.parse(token) as { owner: string; rev: string };
  for (const raw of [user, key, body, "another", payload, owner, rev]) {
    for (const form of [raw, Buffer.from(raw).toString("hex"), Buffer.from(raw).toString("base64")]) {
      assert.ok(!text.includes(form), form);
    }
  }
  assert.ok(!text.includes("user-of-m") && !text.includes("key-of-ma"), "no more than 8 characters");
});

suite("the logger", () => {
  test("writes each line to where it is told, with its event", async () => {
    const written: [string, boolean][] = [];
    const { idem } = watched({ onEvent: logEvents((line, { warning }) => written.push([line, warning])) });
    const decision = await idem.begin(SCOPE, KEY, PAYLOAD);
    assert.ok(decision.type === "miss");
    await decision.lease.abandon();
    assert.deepEqual(written, [
      ["[IDEMP] CHECK user=793ccc64... key=final-17...", false],
      ["[IDEMP] MISS user=793ccc64... key=final-17...", false],
      ["[IDEMP] FENCED user=793ccc64... key=final-17...", true],
    ]);
  });

  test("writes to the console where it is told nothing", async (t) => {
    const log = t.mock.method(console, "log", () => {});
    await watched({ onEvent: logEvents() }).idem.begin(SCOPE, KEY, PAYLOAD);
    assert.deepEqual(
      log.mock.calls.map((call) => call.arguments),
      [["[IDEMP] CHECK user=793ccc64... key=final-17..."], ["[IDEMP] MISS user=793ccc64... key=final-17..."]],
    );
  });

  test("says why a store failed, in words of its own", async () => {
    for (const [code, words] of [
      ["STORE_UNAVAILABLE", "store unavailable"],
      ["STORE_FULL", "store full"],
    ] as const) {
      const swap = () => {
        throw new StoreError(code, { advice: "password=hunter2" });
      };
      const lines: string[] = [];
      const { idem } = watched({ store: { swap }, onEvent: logEvents((line) => lines.push(line)) });
      await assert.rejects(idem.begin(SCOPE, KEY, PAYLOAD), { code });
      assert.equal(lines[1], `[IDEMP] FAILED user=793ccc64... key=final-17... ${words}`);
    }
  });
});

suite("the label of JSON", () => {
  const rows: { name: string; json: string; label: string | null }[] = JSON.parse(
    readFileSync(new URL("../../tests/vectors/labels.json", import.meta.url), "utf8"),
  );
  const label = jsonLabel("id");

  for (const { name, json, label: expected } of rows) {
    test(`${name}: as in Rust, published or in a stored response`, () => {
      const body = bytes(json);
      assert.equal(label(body) ?? null, expected);
      const head = storedHead({
        status: 201,
        headers: [["content-type", bytes("application/json")]],
        bodyLength: body.length,
      });
      assert.equal(label(Buffer.concat([head, body])) ?? null, expected);
    });
  }

  test("bytes that are no text have none", () => {
    assert.equal(label(Buffer.concat([bytes('{"id":"'), Buffer.from([0xff]), bytes('"}')])), undefined);
  });

  test("where the core reads no responses, JSON has its label all the same", () => {
    const working = core();
    useCore(() => () => {
      throw new Error("no such function");
    });
    try {
      assert.equal(label(bytes(' {"id":1}')), "1");
    } finally {
      useCore(() => working);
    }
  });
});
