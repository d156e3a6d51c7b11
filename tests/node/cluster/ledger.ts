/** What was done and what was told, in the order of a clock that all processes share. */
import { appendFileSync, readFileSync } from "node:fs";

/** Nanoseconds on the machine's monotonic clock: the same in every process of it. */
export type Stamp = number;

export function now(): Stamp {
  // A double holds a machine's uptime of 104 days in nanoseconds exactly.
  return Number(process.hrtime.bigint());
}

/** A worker executes. To write this entry is the execution. */
export interface Executed {
  readonly type: "executed";
  readonly key: string;
  readonly attempt: number;
  readonly fence: string;
  readonly at: Stamp;
  /** Milliseconds that are certainly left of the lease. */
  readonly remaining: number;
  /** What this execution is going to answer, if it does. */
  readonly outcome: string;
  readonly worker: number;
}

/** The worker is about to answer that it failed: from here on another may be granted a lease. */
export interface Failing {
  readonly type: "failing";
  readonly key: string;
  readonly attempt: number;
  readonly at: Stamp;
}

/** A client was answered. */
export interface Told {
  readonly type: "told";
  readonly key: string;
  /** Before it asked. */
  readonly asked: Stamp;
  /** After the whole answer was there. */
  readonly at: Stamp;
  readonly status: number;
  readonly replayed: boolean;
  readonly body: string;
}

/** A client was not answered. */
export interface Lost {
  readonly type: "lost";
  readonly key: string;
}

export type Entry = Executed | Failing | Told | Lost;

/** Writes an entry for good: a kill of the process takes it from nobody, since it lies with the system. */
export function note(file: string, entry: Executed | Failing): void {
  appendFileSync(file, `${JSON.stringify(entry)}\n`);
}

/** What all workers have noted. A kill may have torn a line: then its work had not begun. */
export function noted(file: string): Entry[] {
  return readFileSync(file, "utf8")
    .split("\n")
    .flatMap((line) => {
      try {
        return [JSON.parse(line) as Entry];
      } catch {
        return [];
      }
    });
}
