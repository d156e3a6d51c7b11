/** {@link Journal}: lines in a file that several processes share. It stands for a database. */
import { closeSync, fdatasyncSync, fstatSync, openSync, readSync, writeSync } from "node:fs";

/** Each process adds lines of JSON, and reads on from where it stopped. What comes first counts. */
export class Journal<E> {
  private readonly file: number;
  private at = 0;
  private rest = Buffer.alloc(0);

  /**
   * Opens the file, and makes it where there is none. Nobody else may read it: it holds lease tokens.
   *
   * @throws where it cannot be written.
   */
  constructor(path: string) {
    this.file = openSync(path, "a+", 0o600);
  }

  /** Adds an entry: what a client is told has happened survives a power loss. */
  append(entry: E): void {
    // One write, that begins a line of its own: also behind half a line of a process that was killed.
    const line = Buffer.from(`\n${JSON.stringify(entry)}\n`);
    if (writeSync(this.file, line) !== line.length) throw new Error("the journal took half a line: is the disk full?");
    fdatasyncSync(this.file);
  }

  /** What was added since it was asked last, whoever added it. */
  news(): E[] {
    const added = Buffer.alloc(fstatSync(this.file).size - this.at);
    if (added.length === 0) return [];
    const read = readSync(this.file, added, 0, added.length, this.at);
    this.at += read;
    const text = Buffer.concat([this.rest, added.subarray(0, read)]);
    const whole = text.lastIndexOf("\n") + 1;
    this.rest = text.subarray(whole);
    return text.toString("utf8", 0, whole).split("\n").flatMap((line) => entryOf<E>(line));
  }

  close(): void {
    closeSync(this.file);
  }
}

function entryOf<E>(line: string): E[] {
  if (line === "") return [];
  try {
    return [JSON.parse(line) as E];
  } catch {
    return []; // half a line: nobody was told that it has happened
  }
}
