import { StoreError, type StoreErrorCode } from "../../errors.js";

/**
 * Why Redis did not do what it was asked: the `cause` of a `StoreError` of this store. It shows
 * neither what was asked nor what lies there.
 */
export class RedisFault extends Error {
  override name = "RedisFault";

  constructor(
    readonly kind: RedisFaultKind,
    message: string,
    /** What the server said, by its first word (`READONLY`, `NOPERM`), or what the client's error is
     *  coded (`ECONNREFUSED`). */
    readonly code?: string,
  ) {
    super(message);
  }
}

export type RedisFaultKind =
  /** The server lacks commands: it is older than 7.0, or than 7.2 where disks are waited for. */
  | "too-old"
  /** The server may evict records that are still kept. */
  | "evicts"
  /** The server does not tell what has to be known of it. */
  | "silent"
  /** The server keeps no append-only file that a write could be synced to. */
  | "no-append-file"
  /** The server is a replica, whose answers may be old. */
  | "replica"
  /** Fewer copies confirmed the write, in time, than were asked for. */
  | "unreplicated"
  /** The server refused. */
  | "refused"
  /** What the server said cannot be understood. */
  | "reply"
  /** A claim won, and its slot was replaced or removed before the server told when it won. */
  | "overtaken"
  /** What lies under the key is not a record of this store, or a damaged one. */
  | "damaged"
  /** A newer version of this store wrote the record. */
  | "newer"
  /** A lease or a retention is longer than the server can count. */
  | "too-long"
  /** An option, or what was handed over as a client, is not what it has to be. */
  | "option"
  /** The client failed: the connection, or its own limits. */
  | "client";

const UNUSABLE = ["too-old", "evicts", "silent", "no-append-file", "too-long", "option"];
const CODES: Record<string, StoreErrorCode> = {
  OOM: "STORE_FULL",
  WRONGTYPE: "STORE_CORRUPT",
  NOPERM: "STORE_UNUSABLE",
  NOAUTH: "STORE_UNUSABLE",
  WRONGPASS: "STORE_UNUSABLE",
  // The clients for clusters follow these.
  MOVED: "STORE_UNUSABLE",
  ASK: "STORE_UNUSABLE",
};
const ADVICE: Record<string, string> = {
  MOVED: "; the server is a node of a cluster: take your client's form for clusters",
  ASK: "; the server is a node of a cluster: take your client's form for clusters",
  NOPERM: "; docs/operations.md tells which commands the user needs",
};

/** What the fault means to whoever asked. */
export function fault(kind: RedisFaultKind, message: string): StoreError {
  return failed(new RedisFault(kind, message));
}

/** What an error of the client means. None means "no". */
export function meaning(error: unknown): StoreError {
  if (error instanceof StoreError) return error;
  const { code } = (error ?? {}) as { code?: unknown };
  const said = replyCode(error);
  // Behind the server's code may stand what it was asked.
  if (said !== undefined) return failed(new RedisFault("refused", `the server refused: ${said}${ADVICE[said] ?? ""}`, said));
  const coded = typeof code === "string" && /^[A-Z_0-9]{3,40}$/.test(code) ? code : undefined;
  // The client's words for what it was handed may quote that.
  const words = error instanceof TypeError || error instanceof RangeError ? "" : String((error as Error)?.message ?? "");
  const message = words.length > 0 && words.length < 300 ? `the client failed: ${words}` : "the client failed";
  return failed(new RedisFault("client", message, coded));
}

/** The first word of what the server said, where it is that which speaks. */
export function replyCode(error: unknown): string | undefined {
  return /^([A-Z]{2,20})(?: |$)/.exec(String((error as Error)?.message ?? ""))?.[1];
}

function failed(cause: RedisFault): StoreError {
  return new StoreError(storeCode(cause), { advice: cause.message, cause });
}

function storeCode({ kind, code }: RedisFault): StoreErrorCode {
  if (UNUSABLE.includes(kind)) return "STORE_UNUSABLE";
  if (kind === "damaged" || kind === "newer") return "STORE_CORRUPT";
  return (kind === "refused" && CODES[code ?? ""]) || "STORE_UNAVAILABLE";
}
