/** The errors. None means "no": each says that an outcome is unknown, or that nothing was asked. */

/** Every error of this package. Act on {@link code}, which is stable; the message is for people. */
export class IdempError extends Error {
  override name = "IdempError";

  constructor(
    readonly code: string,
    message: string,
    options?: ErrorOptions,
  ) {
    super(message, options);
  }
}

/** A store failed. Whether it did what it was asked is unknown. */
export class StoreError extends IdempError {
  override name = "StoreError";

  constructor(
    override readonly code: StoreErrorCode,
    options?: ErrorOptions & {
      /** What to do about it, where that is known. */
      advice?: string;
    },
  ) {
    const advice = options?.advice === undefined ? "" : `: ${options.advice}`;
    super(code, STORE_MESSAGES[code] + advice, options);
  }

  /** Whether the same question may succeed later. */
  get retryable(): boolean {
    return this.code === "STORE_UNAVAILABLE" || this.code === "STORE_FULL";
  }
}

export type StoreErrorCode =
  | "STORE_UNAVAILABLE"
  | "STORE_FULL"
  | "STORE_CORRUPT"
  | "STORE_UNUSABLE"
  | "STORE_CLOSED";

const STORE_MESSAGES: Record<StoreErrorCode, string> = {
  STORE_UNAVAILABLE: "the store is unavailable; whether the write happened is unknown",
  STORE_FULL: "the store is full, and evicts nothing that is still kept",
  STORE_CORRUPT: "the store is corrupt",
  STORE_UNUSABLE: "the store cannot be used as it is set up",
  STORE_CLOSED: "the store is closed",
};
