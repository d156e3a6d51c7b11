import { dispositionOf, storedHead, type Disposition, type StatusTable } from "../core/http.js";
import type { Fingerprint } from "../core/fingerprint.js";
import type { Scope } from "../core/slot-key.js";
import { IdempError } from "../errors.js";
import type { PolicyOptions } from "../policy.js";
import { milliseconds, type Span } from "../span.js";

export type Awaitable<T> = T | Promise<T>;

/** What a `scope` gives for a caller who is nobody: the request is answered with 401. */
export const UNAUTHENTICATED: unique symbol = Symbol.for("idemp.unauthenticated");

/**
 * Whose key it is, made of what was authenticated: the tenant, the user, the route; 1 to 8 texts, or
 * one. A caller is given the replays of its scope, so the scope has to name the caller, and must not be
 * made of what a caller can choose freely.
 *
 * `undefined`, an error, and a part that is no text are answered with 500 `IDEMPOTENCY_SCOPE_MISSING`:
 * there is no shared default. {@link UNAUTHENTICATED} is answered with 401.
 *
 * Where one middleware stands inside of another, each has a scope of its own, such as `[user, "inner"]`.
 * With one for both, the inner one would find the request in progress, by itself: it is answered with 500
 * `IDEMPOTENCY_NESTED`, and `onError` is told.
 */
export type ScopeOf<R> = (request: R) => Awaitable<string | Scope | undefined | typeof UNAUTHENTICATED>;

/** What is to be idempotent, and how. `R` is a request of the framework. */
export type GateOptions<R> = GateSettings<R> & Whose<R>;

/** Whose keys they are. */
export type Whose<R> =
  | { readonly scope: ScopeOf<R>; readonly unscoped?: undefined }
  | {
      readonly scope?: undefined;
      /** One scope for all callers. **Whoever sends the same key and payload as somebody else gets that
       *  one's answer.** Only for services with a single caller, or whose keys nobody can guess and whose
       *  answers hold nothing private. */
      readonly unscoped: true;
    };

/** Every setting has a default. */
export interface GateSettings<R> {
  /** A request without a key is refused. Otherwise it passes untouched, which is the default. */
  readonly required?: boolean;
  /** The methods that are made idempotent, in any case; POST and PATCH. */
  readonly methods?: readonly string[];
  /** What becomes of the key by the status of the answer. By default 2xx and 3xx are remembered, 4xx
   *  forget it, 5xx and a handler that throws release it for the same payload. */
  readonly statuses?: StatusTable;
  /** Headers of an answer that are stored beside the usual ones. */
  readonly headers?: readonly string[];
  /** How refusals are told: `"ietf"` for problem details and the statuses of the draft. */
  readonly profile?: "default" | "ietf";
  /** Only the form of the standard for the key's header, in quotes; by default a bare one, too. */
  readonly strict?: boolean;
  /** The most bytes of a request's body, inclusive; 2 MiB. A longer one is refused with 413. */
  readonly bodyLimit?: number;
  /** The most bytes of an answer's body that is stored, inclusive; 1 MiB. A longer one reaches its
   *  client, and retries are told that the outcome is unknown. */
  readonly responseLimit?: number;
  /** How long an answer of unknown length is held back to be stored; 2 s. What has not ended by then is
   *  a stream: it goes to its client, and retries are told that the outcome is unknown. */
  readonly streamAfter?: Span;
  /** How long the store has to answer each question; 5 s. */
  readonly storeTimeout?: Span;
  /** How many requests with a key are executed at once; a further one is refused with 503 and
   *  `Retry-After`, and leaves no claim behind. What does not answer counts until the ceiling of its lease.
   *  No bound. */
  readonly maxOwners?: number;
  /** What makes two requests the same. By default the method, the path, the query with its parameters
   *  sorted by name, the content type and the body. **What it leaves out, a client may change and still
   *  get the stored answer.** */
  readonly fingerprint?: (request: R, body: Uint8Array) => Awaitable<Fingerprint>;
  /** Where the store cannot be reached, **execute all the same, without protection**: a retry is executed
   *  again. By default such requests are refused with 503. What cannot be read always blocks. */
  readonly failOpen?: boolean;
  /** How keys are used here; by default as the `Idempotency` says. */
  readonly policy?: PolicyOptions;
  /** Is told what `scope` or `fingerprint` threw, of a request that cannot be checked, and of one that has
   *  no answer at the ceiling of its lease; by default `console.error`. What it throws itself changes
   *  nothing. */
  readonly onError?: (error: unknown) => void;
}

/** Options, checked, with every default in its place. */
export interface Rules<R> {
  readonly scope: ScopeOf<R>;
  readonly required: boolean;
  readonly methods: ReadonlySet<string>;
  /** By status; without one, of a handler that threw. */
  readonly becomes: (status: number | undefined) => Disposition;
  readonly headers: readonly string[];
  readonly profile: "default" | "ietf";
  readonly strict: boolean;
  readonly bodyLimit: number;
  readonly responseLimit: number;
  /** Milliseconds, as are those that follow. */
  readonly streamAfter: number;
  readonly storeTimeout: number;
  readonly maxOwners: number;
  readonly fingerprint: GateSettings<R>["fingerprint"];
  readonly failOpen: boolean;
  readonly onError: (error: unknown) => void;
}

/** @throws IdempError OPTIONS_INVALID, SPAN_INVALID or STATUS_TABLE_INVALID. */
export function rulesOf<R>(options: GateOptions<R>): Rules<R> {
  const { scope, unscoped, headers = [], profile = "default", onError } = options;
  if ((typeof scope === "function") === (unscoped === true)) {
    throw invalid("name either a function `scope`, which tells whose key it is, or `unscoped: true`");
  }
  if (profile !== "default" && profile !== "ietf") throw invalid('`profile` is "default" or "ietf"');
  return {
    scope: scope ?? (() => "unscoped"),
    required: options.required ?? false,
    methods: methodsOf(options.methods ?? ["POST", "PATCH"]),
    becomes: tableOf(options.statuses ?? {}),
    headers: storable(headers),
    profile,
    strict: options.strict ?? false,
    bodyLimit: count("bodyLimit", options.bodyLimit ?? 2 << 20),
    responseLimit: count("responseLimit", options.responseLimit ?? 1 << 20),
    streamAfter: milliseconds(options.streamAfter ?? "2s"),
    storeTimeout: milliseconds(options.storeTimeout ?? "5s"),
    maxOwners: options.maxOwners === undefined ? Infinity : count("maxOwners", options.maxOwners),
    fingerprint: options.fingerprint,
    failOpen: options.failOpen ?? false,
    onError: onError ?? ((error) => console.error(error)),
  };
}

/**
 * The same options, where an error handler of the application answers for a handler that threw: then the
 * status of that answer says what becomes of the key.
 *
 * @throws IdempError OPTIONS_INVALID where they have another rule for it, which could not be kept.
 */
export function byStatus<O extends { readonly statuses?: StatusTable }>(options: O): O {
  if (options.statuses?.thrown === undefined) return options;
  throw invalid(
    "`statuses.thrown` says nothing here, where the error handler of the application answers: name the status of its answer, such as 500, in `statuses.statuses`",
  );
}

function methodsOf(names: readonly string[]): ReadonlySet<string> {
  const methods = names.map((name) => {
    if (!/^[!#$%&'*+.^_`|~\w-]+$/.test(name)) throw invalid("a name in `methods` is not a method");
    return name.toUpperCase();
  });
  if (methods.length === 0) throw invalid("`methods` names at least one");
  if (methods.some((name) => PASSES.includes(name))) {
    throw invalid(`${PASSES.join(", ")} always pass untouched: take them out of \`methods\``);
  }
  return new Set(methods);
}

const PASSES = ["GET", "HEAD", "OPTIONS", "TRACE", "CONNECT"];

/** The answers of core, remembered: there are few statuses, and the table is one. */
function tableOf(table: StatusTable): Rules<unknown>["becomes"] {
  const known = new Map<number | undefined, Disposition>();
  const becomes = (status: number | undefined) => {
    let disposition = known.get(status);
    if (disposition === undefined) known.set(status, (disposition = dispositionOf(table, status)));
    return disposition;
  };
  try {
    becomes(undefined);
  } catch (cause) {
    if ((cause as IdempError).code !== "MALFORMED") throw cause;
    throw new IdempError(
      "CORE_WITHOUT_HTTP",
      "the core in use is that of a page; import idemp/web or idemp/hono, and neither idemp/csp nor initialize; " +
        "or, in Node, the processor lacks SIMD: install the addon of idemp",
      { cause },
    );
  }
  // One that is no status is like one that nothing is known of.
  return (status) => becomes(status === undefined || (status >= 0 && status < 1000) ? status : 0);
}

function storable(names: readonly string[]): readonly string[] {
  for (const name of names) {
    try {
      storedHead({ status: 200, headers: [], bodyLength: 0 }, [name]);
    } catch (cause) {
      throw new IdempError("OPTIONS_INVALID", `a name in \`headers\` cannot be stored: ${(cause as Error).message}`);
    }
  }
  return names;
}

function count(name: string, value: number): number {
  if (Number.isSafeInteger(value) && value >= 0) return value;
  throw invalid(`\`${name}\` is a whole number, not negative`);
}

function invalid(message: string): IdempError {
  return new IdempError("OPTIONS_INVALID", message);
}
