import { StoreError, type StoreErrorCode } from "../../errors.js";

/**
 * What PostgreSQL, or the way to it, said: the `cause` of a `StoreError` of this store. It holds the
 * server's message and its SQLSTATE, and neither detail, hint, context, statement nor parameters, which
 * may quote rows.
 */
export class PostgresFault extends Error {
  override name = "PostgresFault";

  constructor(
    message: string,
    /** The SQLSTATE, five characters, where the server answered. */
    readonly sqlState?: string,
  ) {
    super(sqlState === undefined ? message : `${message} (SQLSTATE ${sqlState})`);
  }
}

const RUN_MIGRATE = "the table is missing or of another version, run `migrate`";
const SIGN_IN = "check the user and the password";

/** What a state means, and what to do about it. Where none is told asking again may help. */
const STATES: Record<string, [StoreErrorCode, advice?: string]> = {
  "53100": ["STORE_FULL"],
  "42P01": ["STORE_UNUSABLE", RUN_MIGRATE],
  "42883": ["STORE_UNUSABLE", RUN_MIGRATE],
  "42703": ["STORE_UNUSABLE", RUN_MIGRATE],
  "42704": ["STORE_UNUSABLE", RUN_MIGRATE],
  "3F000": ["STORE_UNUSABLE", RUN_MIGRATE],
  "25006": ["STORE_UNUSABLE", "connect to the writer, not to a standby"],
  "42501": ["STORE_UNUSABLE", "grant select, insert, update and delete on the table to this role"],
  "28P01": ["STORE_UNUSABLE", SIGN_IN],
  "28000": ["STORE_UNUSABLE", SIGN_IN],
  "3D000": ["STORE_UNUSABLE", "check the name of the database"],
  "22P05": ["STORE_UNUSABLE", "the database has to be encoded in UTF8"],
  XX001: ["STORE_CORRUPT"],
  XX002: ["STORE_CORRUPT"],
};
/** Too large for the server, wrong syntax or types: asking again does not help. */
const HOPELESS = ["42", "54", "22"];

/**
 * States that end a statement, and not its connection. The severity would say so, but `pg` has it only in
 * the server's language (`lc_messages`). What is not among them may be the end of the connection.
 */
const OF_A_STATEMENT = /^(?:0A|2[1-4]|25001|25006|2B|34|4[024]|54|55|P0)|^(?:53100|57014)$/;

/** Whether the server has answered with an error, and goes on to answer on this connection. */
export function leavesConnection(error: unknown): boolean {
  const { code, severity } = (error ?? {}) as { code?: unknown; severity?: unknown };
  return severity !== undefined && typeof code === "string" && code.length === 5 && OF_A_STATEMENT.test(code);
}

/** Another transaction holds the record, and did not end in time; nothing was written. */
const LOCK_NOT_AVAILABLE = "55P03";

/** What an error of a client means. None means "no". */
export function meaning(error: unknown): StoreError {
  if (error instanceof StoreError) return error;
  const { message, code, severity } = (error ?? {}) as { message?: unknown; code?: unknown; severity?: unknown };
  const words = typeof message === "string" ? message.slice(0, 300) : "";
  // Both clients tell the severity of what the server said; codes of the system have none.
  if (typeof code !== "string" || severity === undefined || !/^[0-9A-Z]{5}$/.test(code)) {
    // The client's words for what it was handed may quote that.
    const said = error instanceof TypeError || error instanceof RangeError || words === "" ? "the client failed" : words;
    return failed("STORE_UNAVAILABLE", new PostgresFault(said));
  }
  if (code === LOCK_NOT_AVAILABLE) return busy(new PostgresFault(words, code));
  const [meant, advice] = STATES[code] ?? [HOPELESS.includes(code.slice(0, 2)) ? "STORE_UNUSABLE" : "STORE_UNAVAILABLE"];
  return failed(meant, new PostgresFault(advice === undefined ? words : `${words}; ${advice}`, code));
}

/** The record is held by a transaction that has not ended. */
export function busy(cause = new PostgresFault("another transaction held the record for as long as was waited", LOCK_NOT_AVAILABLE)) {
  return failed("STORE_UNAVAILABLE", cause);
}

export function isBusy(error: unknown): boolean {
  const { cause } = (error ?? {}) as { cause?: unknown };
  return cause instanceof PostgresFault && cause.sqlState === LOCK_NOT_AVAILABLE;
}

export function unusable(message: string): StoreError {
  return failed("STORE_UNUSABLE", new PostgresFault(message));
}

export function corrupt(message: string): StoreError {
  return failed("STORE_CORRUPT", new PostgresFault(message));
}

function failed(code: StoreErrorCode, cause: PostgresFault): StoreError {
  return new StoreError(code, { advice: cause.message, cause });
}
