import "../src/core/inline.js";
import assert from "node:assert/strict";
import { AsyncLocalStorage } from "node:async_hooks";
import { afterEach, beforeEach, suite, test } from "node:test";
import { setTimeout } from "node:timers/promises";
import { inspect } from "node:util";

import {
  ROOT_CONTEXT,
  SpanStatusCode,
  context,
  metrics,
  trace,
  type Context,
  type ContextManager,
} from "@opentelemetry/api";
import {
  AggregationTemporality,
  InMemoryMetricExporter,
  MeterProvider,
  PeriodicExportingMetricReader,
} from "@opentelemetry/sdk-metrics";
import { BasicTracerProvider, InMemorySpanExporter, SimpleSpanProcessor } from "@opentelemetry/sdk-trace-base";
import type { ReadableSpan } from "@opentelemetry/sdk-trace-base";

import { fingerprintOf } from "../src/core/fingerprint.js";
import { openTelemetry } from "../src/entries/opentelemetry.js";
import { StoreError } from "../src/errors.js";
import { createIdempotency } from "../src/idempotency.js";
import type { Store } from "../src/store.js";
import { memoryStore } from "../src/stores/memory.js";

const SCOPE = ["user-of-many-letters"];
const KEY = "key-of-many-letters";
const PAYLOAD = fingerprintOf(1);

/** The active context, over awaits. */
class Contexts implements ContextManager {
  readonly #contexts = new AsyncLocalStorage<Context>();
  active = (): Context => this.#contexts.getStore() ?? ROOT_CONTEXT;
  with: ContextManager["with"] = (context, call, thisArg, ...args) =>
    this.#contexts.run(context, () => call.apply(thisArg, args));
  bind: ContextManager["bind"] = (_, target) => target;
  enable = (): this => this;
  disable = (): this => this;
}

let measured: InMemoryMetricExporter;
let traced: InMemorySpanExporter;
let meters: MeterProvider;
let tracers: BasicTracerProvider;

beforeEach(() => {
  measured = new InMemoryMetricExporter(AggregationTemporality.CUMULATIVE);
  traced = new InMemorySpanExporter();
  // Exports when it is told to: the tests are over before it would by itself.
  const reader = new PeriodicExportingMetricReader({ exporter: measured, exportIntervalMillis: 600_000 });
  meters = new MeterProvider({ readers: [reader] });
  tracers = new BasicTracerProvider({ spanProcessors: [new SimpleSpanProcessor(traced)] });
});

afterEach(async () => {
  for (const api of [metrics, trace, context]) api.disable();
  await meters.shutdown();
  await tracers.shutdown();
});

function registered(): void {
  metrics.setGlobalMeterProvider(meters);
  trace.setGlobalTracerProvider(tracers);
  context.setGlobalContextManager(new Contexts());
}

/** What was measured, by the name of the metric: each with its attributes. */
async function measurements() {
  await meters.forceFlush();
  const last = measured.getMetrics().at(-1);
  const all = last?.scopeMetrics.filter(({ scope }) => scope.name === "idemp").flatMap(({ metrics }) => metrics) ?? [];
  return new Map(all.map((metric) => [metric.descriptor.name, metric]));
}

async function counted(name: string) {
  const points = (await measurements()).get(name)?.dataPoints ?? [];
  return points.map(({ attributes, value }) => [attributes, value]);
}

const milliseconds = ([seconds, nanos]: readonly [number, number]) => seconds * 1000 + nanos / 1e6;
const told = ({ name, attributes, status }: ReadableSpan) => [name, attributes["idemp.outcome"], status.code];

/** A story with one of each: executed, repeated, refused, in progress, failed. */
async function story(idem = createIdempotency({ store: memoryStore(), onEvent: openTelemetry() })) {
  await idem.run(SCOPE, KEY, 1, async () => {
    await assert.rejects(idem.run(SCOPE, KEY, 1, () => 2), { code: "IN_PROGRESS" });
    return 1;
  });
  await idem.run(SCOPE, KEY, 1, () => assert.fail("it ran again"));
  await assert.rejects(idem.run(SCOPE, KEY, 2, () => 2), { code: "CONFLICT" });
  await assert.rejects(idem.run(SCOPE, "other", 1, () => Promise.reject(new Error("no"))));
}

suite("metrics", () => {
  test("count the decisions by kind", async () => {
    registered();
    await story();
    assert.deepEqual(await counted("idemp.decisions"), [
      [{ "idemp.decision": "miss" }, 2],
      [{ "idemp.decision": "in_progress" }, 1],
      [{ "idemp.decision": "hit" }, 1],
      [{ "idemp.decision": "conflict" }, 1],
    ]);
    assert.deepEqual(await counted("idemp.failures"), []);
  });

  test("count what failed by step and code, and not what was decided by it", async () => {
    registered();
    const swap = () => {
      throw new StoreError("STORE_FULL", { advice: "secret" });
    };
    const idem = createIdempotency({ store: { swap }, onEvent: openTelemetry() });
    for (let call = 0; call < 2; call++) await assert.rejects(idem.begin(SCOPE, KEY, PAYLOAD), { code: "STORE_FULL" });
    await assert.rejects(idem.resolve(SCOPE, KEY), { code: "STORE_FULL" });
    assert.deepEqual(await counted("idemp.failures"), [
      [{ "idemp.step": "begin", "error.type": "STORE_FULL" }, 2],
      [{ "idemp.step": "resolve", "error.type": "STORE_FULL" }, 1],
    ]);
    assert.deepEqual(await counted("idemp.decisions"), []);
  });

  test("time each step once, in seconds, in buckets that suit a store", async () => {
    registered();
    const inner = memoryStore();
    const store: Store = { swap: (swap) => setTimeout(15, null).then(() => inner.swap(swap)) };
    const idem = createIdempotency({ store, onEvent: openTelemetry() });
    const began = performance.now();
    await idem.run(SCOPE, KEY, 1, () => 1);
    const elapsed = (performance.now() - began) / 1000;
    const durations = (await measurements()).get("idemp.step.duration");
    assert.equal(durations?.descriptor.unit, "s");
    const points = durations.dataPoints as { attributes: unknown; value: { count: number; sum: number; buckets: { boundaries: number[] } } }[];
    assert.deepEqual(points.map(({ attributes, value }) => [attributes, value.count]), [
      [{ "idemp.step": "begin", "idemp.outcome": "miss" }, 1],
      [{ "idemp.step": "finish", "idemp.outcome": "stored" }, 1],
    ]);
    for (const { value } of points) {
      assert.ok(value.sum >= 0.013 && value.sum <= elapsed, `${value.sum}`);
      assert.deepEqual([value.buckets.boundaries[0], value.buckets.boundaries.at(-1)], [0.0001, 10]);
    }
  });

  test("go to the meter that is given", async () => {
    await story(createIdempotency({ store: memoryStore(), onEvent: openTelemetry({ meter: meters.getMeter("idemp") }) }));
    assert.equal((await counted("idemp.decisions")).length, 4);
  });

  test("go to an SDK that is registered after the hook was made, and had events", async () => {
    const idem = createIdempotency({ store: memoryStore(), onEvent: openTelemetry() });
    await idem.begin(SCOPE, "before", PAYLOAD);
    registered();
    await idem.begin(SCOPE, KEY, PAYLOAD);
    assert.deepEqual(await counted("idemp.decisions"), [[{ "idemp.decision": "miss" }, 1]]);
    assert.deepEqual(traced.getFinishedSpans().map(told), [["idemp begin", "miss", SpanStatusCode.UNSET]]);
  });
});

suite("spans", () => {
  test("are one for each begin and each end of a lease, none for what goes on in between", async () => {
    registered();
    const idem = createIdempotency({ store: memoryStore(), onEvent: openTelemetry() });
    const ends = ["finish", "finishUnstorable", "abandon", "release", "forget"] as const;
    for (const end of ends) {
      const decision = await idem.begin(SCOPE, end, PAYLOAD);
      assert.ok(decision.type === "miss");
      await decision.lease.renew();
      await decision.lease.publish(new Uint8Array(1));
      await decision.lease[end](new Uint8Array(1));
    }
    await idem.resolve(SCOPE, "abandon");
    const { UNSET } = SpanStatusCode;
    assert.deepEqual(
      traced.getFinishedSpans().map(told),
      [
        ["finish", "stored"],
        ["unstorable", "unstorable"],
        ["fence", "fenced"],
        ["release", "released"],
        ["forget", "forgotten"],
      ].flatMap(([step, outcome]) => [["idemp begin", "miss", UNSET], [`idemp ${step}`, outcome, UNSET]]),
    );
  });

  test("are children of what is active where it was asked, whatever else goes on", async () => {
    registered();
    const inner = memoryStore();
    const store: Store = { swap: (swap) => setTimeout(1, null).then(() => inner.swap(swap)) };
    const idem = createIdempotency({ store, onEvent: openTelemetry() });
    const tracer = trace.getTracer("test");
    const parents = await Promise.all(
      ["a", "b", "c"].map((key) =>
        tracer.startActiveSpan(`request ${key}`, async (parent) => {
          await idem.run(SCOPE, key, 1, () => setTimeout(1, 1));
          parent.end();
          return parent.spanContext();
        }),
      ),
    );
    for (const { spanId, traceId } of parents) {
      const children = traced.getFinishedSpans().filter(({ parentSpanContext }) => parentSpanContext?.spanId === spanId);
      assert.deepEqual(children.map(({ name }) => name), ["idemp begin", "idemp finish"]);
      assert.ok(children.every((child) => child.spanContext().traceId === traceId));
    }
  });

  test("begin when the step was asked and end with it, though the hook is called at the end", async () => {
    registered();
    const inner = memoryStore();
    const store: Store = { swap: (swap) => setTimeout(30, null).then(() => inner.swap(swap)) };
    const idem = createIdempotency({ store, onEvent: openTelemetry() });
    const before = Date.now();
    await idem.begin(SCOPE, KEY, PAYLOAD);
    const after = Date.now();
    const [span] = traced.getFinishedSpans();
    const [start, end] = [milliseconds(span!.startTime), milliseconds(span!.endTime)];
    assert.ok(before <= start && start <= after - 25, `${start - before}`);
    assert.ok(end - start >= 25 && end <= after + 1, `${end - start}`);
    assert.equal(span!.ended, true);
  });

  test("of what failed, or came too late, have the status and its type; a refusal has not", async () => {
    registered();
    let now = 1_700_000_000_000;
    const inner = memoryStore({ now: () => now });
    let down = false;
    const store: Store = {
      swap(swap) {
        if (down) throw new StoreError("STORE_UNAVAILABLE", { advice: "secret" });
        return inner.swap(swap);
      },
    };
    const idem = createIdempotency({ store, onEvent: openTelemetry() });
    const late = await idem.begin(SCOPE, KEY, PAYLOAD);
    now += 3_600_000;
    const heir = await idem.begin(SCOPE, KEY, PAYLOAD);
    assert.ok(late.type === "miss" && heir.type === "miss");
    await late.lease.release();
    down = true;
    await assert.rejects(heir.lease.finish(new Uint8Array(1)), StoreError);
    down = false;
    await idem.begin(SCOPE, KEY, fingerprintOf(2));
    const { UNSET, ERROR } = SpanStatusCode;
    const spans = traced.getFinishedSpans();
    assert.deepEqual(
      spans.map((span) => [...told(span), span.attributes["error.type"], span.attributes["idemp.attempt"]]),
      [
        ["idemp begin", "miss", UNSET, undefined, 1],
        ["idemp begin", "miss", UNSET, undefined, 2],
        ["idemp release", "stale", ERROR, "STALE", undefined],
        ["idemp finish", "failed", ERROR, "STORE_UNAVAILABLE", undefined],
        ["idemp begin", "conflict", UNSET, undefined, undefined],
      ],
    );
    assert.doesNotMatch(inspect(spans.map(({ attributes, status }) => [attributes, status])), /secret/);
  });

  test("go to the tracer that is given", async () => {
    const onEvent = openTelemetry({ tracer: tracers.getTracer("own") });
    await createIdempotency({ store: memoryStore(), onEvent }).begin(SCOPE, KEY, PAYLOAD);
    assert.deepEqual(traced.getFinishedSpans().map(told), [["idemp begin", "miss", SpanStatusCode.UNSET]]);
  });
});

test("no attribute holds a user, a key or a task", async () => {
  registered();
  const onEvent = openTelemetry();
  await story(createIdempotency({ store: memoryStore(), onEvent, label: () => "task-of-many-letters" }));
  const all = [
    [...(await measurements()).values()].map(({ descriptor, dataPoints }) => [descriptor, dataPoints]),
    traced.getFinishedSpans().map(({ name, attributes, status, events }) => [name, attributes, status, events]),
  ];
  const text = inspect(all, { depth: 20 });
  assert.match(text, /idemp\.step/);
  assert.doesNotMatch(text, /user-of|key-of|task-of|other/);
});

test("without an SDK nothing is measured, and nothing goes wrong", async () => {
  let throws = 0;
  const hook = openTelemetry();
  const onEvent: typeof hook = (event) => {
    try {
      return hook(event);
    } catch (error) {
      throws++;
      throw error;
    }
  };
  await story(createIdempotency({ store: memoryStore(), onEvent }));
  assert.equal(throws, 0);
  assert.equal(traced.getFinishedSpans().length, 0);
  assert.equal((await measurements()).size, 0);
});
