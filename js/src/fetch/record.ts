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
  let note;
  try {
    note = JSON.parse(new TextDecoder().decode(bytes));
  } catch {
    // Its own error shows a part of the text.
    throw new TypeError("the record of an intent is damaged; settle it once it is known what came of it");
  }
  if (note?.v !== VERSION) throw new TypeError("an intent was recorded by a newer version of idemp");
  return note;
}

/** A fresh key: a UUID of version 4. `crypto.randomUUID` is not there in a page without TLS. */
export function freshKey(): string {
  const digit = (one: string) => {
    const [random = 0] = crypto.getRandomValues(new Uint8Array(1));
    // The 8 has two bits of its own, a 0 none.
    return (one === "8" ? 8 | (random & 3) : random & 15).toString(16);
  };
  return "00000000-0000-4000-8000-000000000000".replace(/[08]/g, digit);
}

const VERSION = 1;
