import { SpanStatusCode, context, metrics, trace, type Attributes, type Meter, type Tracer } from "@opentelemetry/api";
import type { EventHook, EventKind, IdempEvent } from "./event.js";

export interface OpenTelemetryOptions {
  /** By default the global provider's, called `idemp`. */
  readonly meter?: Meter;
  /** By default the global provider's, called `idemp`. */
  readonly tracer?: Tracer;
}

/**
 * A hook that counts and times what happens, and leaves a span for each `begin` and each end of a
 * lease. No user, key or task stands in an attribute.
 *
 * | metric | | attributes |
 * |---|---|---|
 * | `idemp.decisions` | counter | `idemp.decision` |
 * | `idemp.failures` | counter | `idemp.step`, `error.type` |
 * | `idemp.step.duration` | histogram, in seconds | `idemp.step`, `idemp.outcome`, and `error.type` where it failed |
 *
 * ```ts
 * const idem = createIdempotency({ store, onEvent: [logEvents(), openTelemetry()] });
 * ```
 *
 * Without an SDK nothing is measured and nothing is kept. One that is registered later is found.
 */
export function openTelemetry({ meter, tracer }: OpenTelemetryOptions = {}): EventHook {
  const own = meter && instruments(meter);
  let shared: { provider: unknown; instruments: Instruments } | undefined;
  /** The global meters of before an SDK stay idle for ever: so they are asked for anew. */
  const current = (): Instruments => {
    if (own) return own;
    const provider = metrics.getMeterProvider();
    if (shared?.provider !== provider) {
      shared = { provider, instruments: instruments(provider.getMeter(NAME)) };
    }
    return shared.instruments;
  };
  const spans = tracer ?? trace.getTracer(NAME);
  return (event) => {
    const { kind, step, at, durationMs } = event;
    // A step that has not ended is told again.
    if (durationMs === undefined) return;
    const { decisions, failures, durations } = current();
    const outcome = kind.toLowerCase();
    const error = errorType(event);
    const attributes: Attributes = { "idemp.step": step, "idemp.outcome": outcome };
    if (error !== undefined) attributes["error.type"] = error;
    if (DECISIONS.has(kind)) decisions.add(1, { "idemp.decision": outcome });
    if (kind === "FAILED") failures.add(1, { "idemp.step": step, "error.type": event.code });
    durations.record(durationMs / 1000, attributes);
    if (!SPANS.has(step)) return;
    const span = spans.startSpan(`idemp ${step}`, { startTime: at, attributes }, context.active());
    if (kind === "MISS") span.setAttribute("idemp.attempt", event.attempt);
    if (error !== undefined) span.setStatus({ code: SpanStatusCode.ERROR, message: error });
    span.end(at + durationMs);
  };
}

const NAME = "idemp";

type Instruments = ReturnType<typeof instruments>;

function instruments(meter: Meter) {
  return {
    decisions: meter.createCounter("idemp.decisions", {
      description: "Requests with a key, by what became of them.",
      unit: "{decision}",
    }),
    failures: meter.createCounter("idemp.failures", {
      description: "Steps that failed, with the store or at a record: their outcome is unknown.",
      unit: "{failure}",
    }),
    durations: meter.createHistogram("idemp.step.duration", {
      description: "How long a step took, its trips to the store included.",
      unit: "s",
      advice: {
        explicitBucketBoundaries: [
          0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10,
        ],
      },
    }),
  };
}

const DECISIONS: ReadonlySet<EventKind> = new Set(["MISS", "HIT", "CONFLICT", "IN_PROGRESS", "UNKNOWN", "EXPIRED"]);

/** A `begin`, and what ends a lease. */
const SPANS: ReadonlySet<string> = new Set(["begin", "finish", "unstorable", "fence", "release", "forget"]);

/** What went wrong with the step itself; that an outcome is unknown is an answer. */
function errorType(event: IdempEvent): string | undefined {
  if (event.kind === "FAILED") return event.code;
  return event.kind === "STALE" ? "STALE" : undefined;
}
