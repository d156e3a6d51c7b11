/** Events as metrics and spans: see {@link openTelemetry}. */
export * from "../events/opentelemetry.js";
