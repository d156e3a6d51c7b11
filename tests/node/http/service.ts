/** The service of a case, whatever framework it is served by. */
import type { Server } from "node:http";
import { fingerprintBytes, type Idempotency } from "idemp";
import { UNAUTHENTICATED, type Execution } from "idemp/web";
import { bytesOf, type Case, type Header, type Piece, type Route, type ScopePart, type Script } from "./case.js";
import { Count, type Gates } from "./gates.js";
import type { Stage } from "./stage.js";

/** A framework with the middleware for it. */
export interface Framework {
  readonly name: string;
  /** Listens on a free port of loopback. */
  serve(service: Service): Promise<Server>;
  /** Values of one name are one line, joined by commas: what stands on `Headers` cannot tell. */
  readonly joins?: boolean;
  /** What its server writes into an answer that has no content type. */
  readonly contentType?: string;
}

/** What the handler sees of a request. */
export interface Seen {
  readonly method: string;
  /** The path and the query, as they were sent. */
  readonly target: string;
  /** Several of one name are joined by commas. */
  header(name: string): string | undefined;
  readonly body: Uint8Array;
  readonly execution: Execution | undefined;
}

/** What the handler answers. */
export interface Reply {
  readonly status: number;
  readonly headers: readonly Header[];
  readonly body: Uint8Array | AsyncIterable<Uint8Array>;
}

/** Whose request it is, and where it goes: what a scope is made of. */
export interface Asking {
  readonly user: string | undefined;
  readonly tenant: string | undefined;
  readonly method: string;
  readonly path: string;
}

export class Service {
  readonly runs = new Count();
  readonly routes: readonly (readonly [path: string, Route | null])[];
  /** What a layer outside writes into every answer. */
  readonly outer: readonly Header[];
  private readonly scripts: readonly Script[];

  constructor(
    { routes = { "*": {} }, outer = [], handler = COUNTING }: Case,
    readonly idem: Idempotency,
    private readonly stage: Stage,
    private readonly gates: Gates,
    /** Stands before users and tenants: where cases share a store with nothing before it. */
    private readonly mark = "",
  ) {
    // What is for all paths comes last.
    this.routes = Object.entries(routes).sort(([a], [b]) => Number(a === "*") - Number(b === "*"));
    this.outer = outer;
    this.scripts = handler;
  }

  /** Does what the script of this run says; those behind the last one do as the last. */
  async handle(seen: Seen): Promise<Reply> {
    const run = this.runs.add();
    const script = (this.scripts[run - 1] ?? this.scripts.at(-1)) as Script;
    const { execution } = seen;
    if (script.wait) await this.gates.opened(script.wait);
    const published = execution?.published && Buffer.from(execution.published).toString();
    if (script.publish !== undefined) await execution?.publish(Buffer.from(script.publish));
    if (script.store) this.stage.fail(script.store);
    // Where the store fails, the middleware says it again.
    if (script.markUnknown) await execution?.markUnknown().catch(() => undefined);
    if (script.throws) throw new Error("the handler of this case throws");
    const { status = 0, headers = [], body = "" } = script;
    const attempt = execution?.attempt;
    const reply = (body: Reply["body"]) => ({ status, headers, body });
    if (typeof body === "string") {
      const said = { run, attempt: attempt ?? "none", published: published ?? "none" };
      return reply(Buffer.from(body.replace(/\{(run|attempt|published)\}/g, (_, name: keyof typeof said) => String(said[name]))));
    }
    if ("pieces" in body) return reply(this.pieces(body.pieces));
    if (!("echo" in body)) return reply(bytesOf(body));
    if (body.echo === "body") return reply(seen.body);
    const request = {
      method: seen.method,
      target: seen.target,
      key: seen.header("idempotency-key") ?? null,
      part: seen.header("x-part") ?? null,
      length: seen.header("content-length") ?? null,
      body: Buffer.from(seen.body).toString("hex"),
      attempt: attempt ?? null,
      published: published ?? null,
    };
    return reply(Buffer.from(JSON.stringify(request)));
  }

  /** The options of the middleware, where `asking` tells what there is to know of a request. */
  optionsOf<R>(route: Route, asking: (request: R) => Asking) {
    const { scope = "user", fingerprint, ...others } = route;
    const own = (part: string | undefined) => (part === undefined ? undefined : this.mark + part);
    const scopeOf = (request: R) => {
      const { user, tenant, ...where } = asking(request);
      if (scope === "missing") return undefined;
      if (scope === "malformed") return ["ada", ""];
      if (scope === "throws") throw new Error("no scope");
      if (scope === "user") return own(user) ?? UNAUTHENTICATED;
      const known = { user: own(user), tenant: own(tenant), ...where };
      const parts = (scope as readonly ScopePart[]).map((part) => known[part]);
      return parts.every((part) => part !== undefined) ? parts : undefined;
    };
    const fingerprints = {
      constant: () => fingerprintBytes(Buffer.from("constant")),
      throws: () => {
        throw new Error("no fingerprint");
      },
    };
    return {
      ...others,
      ...(fingerprint && { fingerprint: fingerprints[fingerprint] }),
      ...(scope === "unscoped" ? { unscoped: true as const } : { scope: scopeOf }),
      onError: () => undefined,
    };
  }

  private async *pieces(pieces: readonly Piece[]): AsyncGenerator<Uint8Array> {
    for (const piece of pieces) {
      if (typeof piece === "string") yield Buffer.from(piece);
      else if ("hex" in piece) yield Buffer.from(piece.hex, "hex");
      else if ("wait" in piece) await this.gates.opened(piece.wait);
      else throw new Error("the body of this case breaks off");
    }
  }
}

const COUNTING: readonly Script[] = [{ status: 201, headers: [["content-type", "text/plain"]], body: "{run}" }];

/**
 * The options where an error of the handler goes to the error handler of the application, so that it is the
 * status of its answer which says what becomes of the key: that of these applications is 500.
 */
export function withErrorHandler(route: Route): Route {
  const { thrown, ...statuses } = route.statuses ?? {};
  if (!thrown) return route;
  return { ...route, statuses: { ...statuses, statuses: { ...statuses.statuses, 500: thrown } } };
}
