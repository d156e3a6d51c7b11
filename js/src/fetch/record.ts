/** What an owner leaves on the slot of an intent, as JSON: for the reload, the other tabs, and the
 *  attempt that comes after a crash. */
export interface Note {
  /** The key that the operation is sent with. */
  readonly key: string;
  /** When the key was made, in milliseconds since the Unix epoch. */
  readonly at: number;
  /** The outcome is known: `data` is it. Else `data` is what the work published so far. */
  readonly done?: true;
  readonly data?: unknown;
}

/** As bytes.
 *
 *  @throws TypeError where the data has no JSON form. */
export function written(note: Note): Uint8Array {
  return new TextEncoder().encode(JSON.stringify({ v: VERSION, ...note }));
}

/** Reads what {@link written} gave; `undefined` where nothing was published.
 *
 *  @throws TypeError where it is something else: another version of this package wrote it. */
export function read(bytes: Uint8Array | undefined): Note | undefined {
  if (bytes === undefined || bytes.length === 0) return undefined;
  const note = JSON.parse(new TextDecoder().decode(bytes));
  if (note?.v !== VERSION) throw new TypeError("an intent was recorded by a newer version of idemp");
  return note;
}

/** A fresh key: a UUID of version 4. */
export function freshKey(): string {
  if (crypto.randomUUID) return crypto.randomUUID();
  // Not in a page without TLS.
  const bytes = crypto.getRandomValues(new Uint8Array(16));
  bytes[6] = (bytes[6]! & 0x0f) | 0x40;
  bytes[8] = (bytes[8]! & 0x3f) | 0x80;
  const hex = Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");
  return hex.replace(/^(.{8})(.{4})(.{4})(.{4})/, "$1-$2-$3-$4-");
}

const VERSION = 1;
