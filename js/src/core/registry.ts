import { IdempError } from "../errors.js";

/** The Rust core: the number of a function and its question in, the answer out. */
export type Core = (question: number, bytes: Uint8Array) => Uint8Array;

let ready: Core | undefined;
let start: (() => Core) | undefined;

/** Takes this core from now on; it is started when it is first asked. */
export function useCore(starting: () => Core): void {
  start = starting;
  ready = undefined;
}

/**
 * Takes this core unless one was chosen. Modules that need a core bring one along: a page that has
 * chosen another, since its policy forbids WebAssembly, keeps that, in whatever order it imports.
 */
export function offerCore(starting: () => Core): void {
  start ??= starting;
}

/** The core in use. */
export function core(): Core {
  if (ready) return ready;
  if (!start) {
    throw new IdempError(
      "NOT_INITIALISED",
      "idemp/slim has no machine yet: await initialize() first, or import idemp",
    );
  }
  return (ready = start());
}

/** SHA-256 in hex. */
export type Hash = (bytes: Uint8Array) => string;

let hash: Hash | undefined;

/** Takes this SHA-256 from now on, instead of the core's own. */
export function useHash(faster: Hash): void {
  hash = faster;
}

/** The host's SHA-256, where it has a faster one. */
export function hostHash(): Hash | undefined {
  return hash;
}
