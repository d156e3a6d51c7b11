import { IdempError } from "../errors.js";
import type { MemoryStore } from "../stores/memory.js";
import type { Out } from "./bytes.js";

/** The Rust core: the number of a function and its question in, the answer out. */
export interface Core {
  (question: number, bytes: Uint8Array): Uint8Array;
  /** A fingerprint in hex, where the host has a faster way to it than by a question. */
  fingerprint?(body: string | Uint8Array, json: boolean): string;
  /** Where questions are written that a server asks for every request. */
  desk?: Desk;
}

/** Room that is written into and read from again and again. What was asked stands there no longer when
 *  the answer does, and that only until the next question is written. */
export interface Desk {
  /** An empty sheet for a question. */
  out(): Out;
  /** The answer. */
  ask(question: number, out: Out): Uint8Array;
  /** Bytes in hex. */
  hex(bytes: Uint8Array): string;
}

/** Starts a core. */
export interface Starting {
  (): Core;
  /** The memory store of the host, where it has one that is faster. */
  memory?(capacity: number): MemoryStore | undefined;
}

let ready: Core | undefined;
let start: Starting | undefined;

/** Takes this core from now on; it is started when it is first asked. */
export function useCore(starting: Starting): void {
  start = starting;
  ready = undefined;
}

/**
 * Takes this core unless one was chosen. Modules that need a core bring one along: a page that has
 * chosen another, since its policy forbids WebAssembly, keeps that, in whatever order it imports.
 */
export function offerCore(starting: Starting): void {
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

/** The host's own memory store, where it has one. */
export function hostMemory(capacity: number): MemoryStore | undefined {
  return start?.memory?.(capacity);
}
