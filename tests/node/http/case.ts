/** A case as it is written: see `tests/http-cases/README.md`. */
import { readFileSync, readdirSync } from "node:fs";
import type { StatusTable } from "idemp/web";

const folder = new URL("../../http-cases/", import.meta.url);

export type Header = readonly [name: string, value: string];

export interface Topic {
  readonly about: string;
  readonly cases: readonly Case[];
}

export interface Case {
  readonly name: string;
  readonly routes?: Readonly<Record<string, Route | null>>;
  readonly policy?: { retention?: number; lease?: number; tombstone?: number; onLapse?: "takeover" | "fence" };
  readonly outer?: readonly Header[];
  readonly handler?: readonly Script[];
  readonly steps: readonly Step[];
  readonly runs: number;
}

/** The options of the middleware, on one path. */
export interface Route {
  readonly scope?: "user" | "missing" | "malformed" | "throws" | "unscoped" | readonly ScopePart[];
  readonly required?: boolean;
  readonly methods?: readonly string[];
  readonly statuses?: StatusTable;
  readonly headers?: readonly string[];
  readonly profile?: "default" | "ietf";
  readonly strict?: boolean;
  readonly bodyLimit?: number;
  readonly responseLimit?: number;
  readonly streamAfter?: number;
  readonly storeTimeout?: number;
  readonly maxOwners?: number;
  readonly failOpen?: boolean;
  readonly fingerprint?: "constant" | "throws";
}

export type ScopePart = "user" | "tenant" | "method" | "path";

/** What the handler does in one run. */
export interface Script {
  readonly wait?: string;
  readonly publish?: string;
  readonly markUnknown?: boolean;
  readonly store?: Fault;
  readonly throws?: boolean;
  readonly status?: number;
  readonly headers?: readonly Header[];
  readonly body?: Content | { readonly pieces: readonly Piece[] } | { readonly echo: "body" | "request" };
}

export type Piece = string | { readonly hex: string } | { readonly wait: string } | { readonly throws: true };

/** Bytes that are known beforehand. */
export type Content = string | { readonly hex: string } | Repeat;

export interface Repeat {
  readonly repeat: string;
  readonly times: number;
}

export type Fault =
  | "none"
  | "lost"
  | "answer-lost"
  | "full"
  | "corrupt"
  | "hang"
  | { readonly wait: string }
  | { readonly head: string }
  | { readonly body: string };

export interface Counts {
  readonly arrived?: number;
  readonly runs?: number;
  readonly asked?: number;
  readonly won?: number;
}

export interface Request {
  readonly method?: string;
  readonly path?: string;
  readonly key?: string | readonly string[] | Repeat;
  readonly user?: string | null;
  readonly type?: string | null;
  readonly headers?: readonly Header[];
  readonly body?: Content;
  readonly chunks?: readonly string[];
  readonly length?: string;
}

/** An answer of the handler, or a refusal by its code. */
export interface Expected {
  readonly status?: number;
  readonly headers?: readonly Header[];
  readonly body?: Content;
  readonly replayed?: boolean;
  readonly broken?: boolean;
  readonly refused?: string;
  readonly profile?: "default" | "ietf";
  readonly key?: string;
  readonly requestId?: string;
  readonly retryAfter?: readonly [least: number, most: number];
}

/** One step; which one is told by the members that it has. */
export interface Step {
  readonly send?: Request;
  readonly expect?: Expected;
  readonly start?: string;
  readonly answer?: string;
  readonly received?: string;
  readonly body?: Content;
  readonly drop?: string;
  readonly race?: number;
  readonly others?: readonly Expected[];
  readonly open?: string;
  readonly wait?: Counts;
  readonly check?: Counts;
  readonly advance?: number;
  readonly store?: Fault;
  readonly next?: readonly Fault[];
}

export type Refusals = Readonly<
  Record<string, Readonly<Record<string, { status: number; headers: readonly Header[]; body: string }>>>
>;

/** Every file of cases, by its name. */
export function topics(): ReadonlyMap<string, Topic> {
  const names = readdirSync(folder).filter((name) => name.endsWith(".json") && name !== "refusals.json");
  return new Map(names.sort().map((name) => [name.slice(0, -".json".length), read(name) as Topic]));
}

export const refusals = read("refusals.json") as Refusals;

export function bytesOf(content: Content): Buffer {
  if (typeof content === "string") return Buffer.from(content);
  if ("hex" in content) return Buffer.from(content.hex, "hex");
  return Buffer.from(content.repeat.repeat(content.times));
}

function read(name: string): unknown {
  return JSON.parse(readFileSync(new URL(name, folder), "utf8"));
}
