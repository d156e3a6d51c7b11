/** What is said on the command line, to the service and to its worker. */
import { parseArgs } from "node:util";

/** A mistake in the options: the message is for who made it. */
export class UsageError extends Error {}

export interface Options {
  readonly port: number;
  readonly store: string;
  readonly tasks: string;
  readonly takes: number;
  readonly end: "completed" | "failed";
  readonly once: boolean;
  readonly stopAtEof: boolean;
}

const KINDS = {
  port: { type: "string" },
  store: { type: "string" },
  tasks: { type: "string" },
  takes: { type: "string" },
  fail: { type: "boolean" },
  once: { type: "boolean" },
  "stop-at-eof": { type: "boolean" },
  help: { type: "boolean", short: "h" },
} as const;

/**
 * The options of a program that knows those named in `known`; where help is asked for, `usage` is
 * printed and the process ends.
 *
 * @throws UsageError
 */
export function optionsOf(known: readonly (keyof typeof KINDS)[], usage: string): Options {
  const options = Object.fromEntries([...known, "help" as const].map((name) => [name, KINDS[name]]));
  let values: Partial<Record<keyof typeof KINDS, string | boolean>>;
  try {
    ({ values } = parseArgs({ options }));
  } catch (error) {
    throw new UsageError((error as Error).message);
  }
  if (values.help) {
    process.stdout.write(usage);
    process.exit();
  }
  const text = (name: keyof typeof KINDS, or: string) => (values[name] as string | undefined) ?? or;
  return {
    port: whole("port", text("port", process.env["PORT"] ?? "0"), 65535),
    store: text("store", process.env["STORE"] ?? "sqlite:idempotency.db"),
    tasks: text("tasks", "video-tasks.jsonl"),
    takes: whole("takes", text("takes", "2000"), 3_600_000),
    end: values.fail ? "failed" : "completed",
    once: values.once === true,
    stopAtEof: values["stop-at-eof"] === true,
  };
}

/** How long the outcome of a create is replayed. @throws UsageError where it is no whole number of hours. */
export function retention(): `${number}h` {
  const hours = process.env["IDEMPOTENCY_TTL_HOURS"] ?? "24";
  if (/^\d{1,6}$/.test(hours) && Number(hours) >= 1) return `${Number(hours)}h`;
  throw new UsageError("`IDEMPOTENCY_TTL_HOURS` is a whole number of hours, at least 1");
}

function whole(name: string, text: string, most: number): number {
  if (/^\d{1,7}$/.test(text) && Number(text) <= most) return Number(text);
  throw new UsageError(`\`--${name}\` takes a whole number from 0 to ${most}`);
}
