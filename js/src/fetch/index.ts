/** The client of a page: see {@link createClient}. */
export {
  createClient,
  type Client,
  type ClientEvent,
  type ClientOptions,
  type FetchInit,
  type Intent,
  type Known,
  type OnceOptions,
} from "./client.js";
export type { Clock } from "./clock.js";
export {
  ConflictError,
  errorOf,
  ExpiredError,
  InProgressError,
  NetworkError,
  OnceError,
  RefusedError,
  UnknownOutcomeError,
  type OnceErrorCode,
} from "./errors.js";
export type { OnceEvent } from "./once.js";
export type { RetryOptions } from "./retry.js";
export { judge, type Verdict } from "./verdict.js";
export type { Work } from "./work.js";
