/** A request's way through the gate, on `node:http`. */
import type { IncomingMessage, ServerResponse } from "node:http";
import type { Answer } from "../gate/answer.js";
import type { Execution } from "../gate/execution.js";
import type { Admitted, Gate, Unread } from "../gate/gate.js";
import { send } from "./answer.js";
import { isGone, letGo } from "./disconnect.js";
import { drain, letFlow, readBody } from "./request-body.js";
import { capture } from "./response-capture.js";

/** What a framework does, for one of its requests `R`. */
export interface Way<R> {
  readonly gate: Gate<R>;
  /** The body, where somebody has read it and kept it. */
  kept(request: R): Uint8Array | undefined;
  /** The response is about to be written without the framework. */
  takeOver?(request: R): void;
}

/**
 * Answers the request, or hands it on by `next`, with its execution where it has a key. The response is
 * captured then.
 *
 * `url` is the target of the request as it came, the query included.
 */
export function admit<R>(
  way: Way<R>,
  request: R,
  req: IncomingMessage,
  res: ServerResponse,
  url: string,
  next: (execution?: Execution) => void,
  fail: (error: unknown) => void,
): void {
  const { gate } = way;
  const method = req.method ?? "";
  const entered = gate.enter(method, valuesOf(req, "idempotency-key"), requestIdOf(req, res));
  if (entered.type === "pass") return next();
  if (entered.type === "answer") return answer(way, request, req, res, entered.answer);
  const question = url.indexOf("?");
  const target = {
    method,
    path: question < 0 ? url : url.slice(0, question),
    query: question < 0 ? undefined : url.slice(question + 1),
    contentType: req.headers["content-type"],
  };
  const body = async (): Promise<Uint8Array | Unread> => {
    const read = readBody(req, gate.bodyLimit);
    return read === "consumed" ? ofKept(way.kept(request), gate.bodyLimit) : read;
  };
  gate.admit(entered.entry, request, target, body).then((admitted) => {
    goOn(way, request, req, res, admitted, next);
  }).catch(fail);
}

function goOn<R>(
  way: Way<R>,
  request: R,
  req: IncomingMessage,
  res: ServerResponse,
  admitted: Admitted,
  next: (execution?: Execution) => void,
): void {
  if (admitted.type === "answer") return answer(way, request, req, res, admitted.answer);
  if (admitted.type === "open") {
    // Nobody is there any more, and nothing binds the server to do it.
    if (isGone(req)) return letGo(req);
    letGo(req);
    letFlow(req);
    return next();
  }
  capture(req, res, admitted.owner, way.gate);
  letFlow(req);
  next(admitted.owner.execution);
}

function answer<R>(way: Way<R>, request: R, req: IncomingMessage, res: ServerResponse, answer: Answer): void {
  letGo(req);
  if (res.headersSent) return;
  way.takeOver?.(request);
  send(answer, res);
  drain(req);
}

function ofKept(kept: Uint8Array | undefined, limit: number): Uint8Array | Unread {
  if (kept === undefined) return "consumed";
  return kept.length > limit ? "too-large" : kept;
}

/** The values of a header, one per line of it. */
function valuesOf({ rawHeaders }: IncomingMessage, name: string): readonly string[] {
  let values = NONE;
  for (let at = 0; at < rawHeaders.length; at += 2) {
    const header = rawHeaders[at] as string;
    if (header.length !== name.length || header.toLowerCase() !== name) continue;
    if (values === NONE) values = [];
    values.push(rawHeaders[at + 1] as string);
  }
  return values;
}

const NONE: string[] = [];

/** Of the client, or of whoever stands outside. */
function requestIdOf(req: IncomingMessage, res: ServerResponse): string | undefined {
  const id = valuesOf(req, "x-request-id")[0] ?? res.getHeader("x-request-id");
  return typeof id === "string" ? id : undefined;
}
