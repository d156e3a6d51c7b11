/** The addon: where it is found, and what is said where it is not. */
import { createRequire } from "node:module";
import { IdempError } from "../errors.js";

/** What the addon exports: see `bindings-node`. Each call is over when it returns. */
export interface Addon {
  readonly LAYOUT: number;
  call(question: number, io: Uint8Array, length: number): Uint8Array | null;
  callOn(question: number, bytes: Uint8Array, io: Uint8Array): Uint8Array | null;
  /** Of the first `length` bytes. Into `place`: 66 hex digits, and the 33 bytes. */
  fingerprint(json: boolean, body: Uint8Array, length: number, place: Uint8Array): boolean;
  /** `store` is the number of a memory store. */
  driveInMemory(store: number, io: Uint8Array, length: number, own?: Uint8Array, known?: Uint8Array): Uint8Array | null;
  readonly Clock: new (now: number) => AddonClock;
  readonly MemoryStore: new (capacity: number, clock?: AddonClock) => AddonMemory;
  readonly SqliteStore: new (path: string, opening: SqliteOpening, clock?: AddonClock) => AddonSqlite;
}

/** Stands still until it is set: for tests. */
export interface AddonClock {
  set(now: number): void;
}

export interface AddonMemory {
  readonly number: number;
  swap(io: Uint8Array, length: number, own?: Uint8Array): Uint8Array | null;
  forget(prefix: Uint8Array): void;
  readonly size: number;
  purge(): number;
}

export interface AddonSqlite {
  drive(io: Uint8Array, length: number, own?: Uint8Array, known?: Uint8Array): Uint8Array | null;
  swap(io: Uint8Array, length: number, own?: Uint8Array): Uint8Array | null;
  tick(): Promise<void> | null;
  take(io: Uint8Array): Uint8Array | null;
  purge(limit: number): Promise<number>;
  readonly commits: number;
  close(): Promise<void>;
}

export interface SqliteOpening {
  relaxed: boolean;
  busyTimeout?: number | undefined;
  queue?: number | undefined;
  maxBytes?: number | undefined;
}

/** How its calls are laid out. One of another version of the package is as good as none. */
const LAYOUT = 1;

/**
 * The addon, if it is to be used and there is one for this platform. Where there is none, WebAssembly
 * takes over, and that is said once: a warning with the code IDEMP_WASM.
 *
 * @throws IdempError NATIVE_UNAVAILABLE where IDEMP_BACKEND demands it and it is not there;
 * BACKEND_INVALID where that is neither `native` nor `wasm`.
 */
export function addon(): Addon | undefined {
  const backend = process.env["IDEMP_BACKEND"] ?? "";
  if (!["", "native", "wasm"].includes(backend)) {
    throw new IdempError("BACKEND_INVALID", "IDEMP_BACKEND is native or wasm, or it is not set");
  }
  if (backend === "wasm") {
    warn("idemp runs on WebAssembly, since IDEMP_BACKEND says so");
    return undefined;
  }
  if (backend === "native") return addonFor("IDEMP_BACKEND=native");
  const loaded = load();
  if ("call" in loaded) return loaded;
  warn(`idemp runs on WebAssembly, with the same answers, but slower: ${loaded.why}`);
  return undefined;
}

/**
 * The addon, for what cannot do without it.
 *
 * @throws IdempError NATIVE_UNAVAILABLE
 */
export function addonFor(what: string): Addon {
  const loaded = load();
  if ("call" in loaded) return loaded;
  throw new IdempError("NATIVE_UNAVAILABLE", `${what} needs the addon of idemp: ${loaded.why}`, { cause: loaded.cause });
}

interface Missing {
  readonly why: string;
  readonly cause: unknown;
}

let loaded: Addon | Missing | undefined;

function load(): Addon | Missing {
  return (loaded ??= tried());
}

function tried(): Addon | Missing {
  const names = packages();
  if (names.length === 0) {
    return { why: `there is none for ${process.platform} on ${process.arch}`, cause: undefined };
  }
  let cause: unknown;
  for (const name of names) {
    try {
      // Not `require`: that is a word to bundlers, and the addon is no script. A bundle that is no
      // module has no address; then it is looked for where the process runs.
      const from = createRequire((import.meta.url as string | undefined) ?? `${process.cwd()}/`);
      const found = from(name) as Addon;
      if (found.LAYOUT === LAYOUT) return found;
      cause = new Error(`${name} is of another version`);
    } catch (error) {
      // What is there and does not load says more than what is not there.
      if (cause === undefined || (error as { code?: string }).code !== "MODULE_NOT_FOUND") cause = error;
    }
  }
  const absent = (cause as { code?: string }).code === "MODULE_NOT_FOUND";
  const why = absent
    ? `install ${names.join(" or ")} (npm does so by itself, unless it omits optional dependencies)`
    : `it does not load: ${(cause as Error).message}`;
  return { why, cause };
}

/** The packages that may fit. Which libc it is shows itself: the other one's does not load. */
function packages(): string[] {
  const { platform, arch } = process;
  return (PLATFORMS[`${platform}-${arch}`] ?? []).map((kind) => `@idemp/node-${platform}-${arch}${kind}`);
}

const PLATFORMS: Readonly<Record<string, readonly string[]>> = {
  "linux-x64": ["-gnu", "-musl"],
  "linux-arm64": ["-gnu", "-musl"],
  "darwin-x64": [""],
  "darwin-arm64": [""],
  "win32-x64": ["-msvc"],
};

const WARNED = Symbol.for("idemp.warned");

/** Once a process, though it may hold the package twice, as a module and as CommonJS. */
function warn(message: string): void {
  const once = process as { [WARNED]?: boolean };
  if (once[WARNED]) return;
  once[WARNED] = true;
  process.emitWarning(message, { type: "IdempWarning", code: "IDEMP_WASM" });
}
