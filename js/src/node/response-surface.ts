/** What stands on a response in the place of its own functions. */
import type { ServerResponse } from "node:http";

/** Is given what a handler does to its response. */
export interface Surface {
  write(chunk: unknown, encoding?: BufferEncoding | Callback, callback?: Callback): boolean;
  end(chunk?: unknown, encoding?: BufferEncoding | (() => void), callback?: () => void): void;
  writeHead(status: number, reason?: unknown, headers?: unknown): void;
  flushHeaders(): void;
  addTrailers(trailers: Trailers): void;
  destroy(error?: Error): void;
  emit(event: string | symbol, args: unknown[]): boolean;
  /** Whether the handler has begun it, and it is not out yet. */
  begunHere(): boolean;
  /** Whether the handler has ended it, and it is not out yet. */
  endedHere(): boolean;
}

export type Callback = (error?: Error | null) => void;
type Trailers = Parameters<ServerResponse["addTrailers"]>[0];

const SURFACE = Symbol("idemp.surface");

/** A response with the fields that `node:http` keeps for HTTP/1. */
export type Captured = ServerResponse & { [SURFACE]?: Surface; _header?: string | null; _closed?: boolean };

/**
 * Puts it there. The functions are the same on all responses, and stand on the response itself, since a
 * framework may give it another prototype further in (a mounted application of Express does).
 *
 * `tells` says whether the response knows by its own fields that its head was given.
 */
export function stand(surface: Surface, res: Captured, tells: boolean): void {
  res[SURFACE] = surface;
  res.write = write as Captured["write"];
  res.end = end as Captured["end"];
  res.writeHead = writeHead as Captured["writeHead"];
  res.flushHeaders = flushHeaders;
  res.addTrailers = addTrailers;
  res.destroy = destroy;
  res.emit = emit;
  Object.defineProperty(res, "writableEnded", WRITABLE_ENDED);
  if (!tells) Object.defineProperty(res, "headersSent", HEADERS_SENT);
}

/** Whether nobody has put a function of its own before this `writeHead`. */
export function headIsHere(res: ServerResponse): boolean {
  return res.writeHead === (writeHead as unknown);
}

function write(this: Captured, chunk: unknown, encoding?: BufferEncoding | Callback, callback?: Callback): boolean {
  return (this[SURFACE] as Surface).write(chunk, encoding, callback);
}

function end(this: Captured, chunk?: unknown, encoding?: BufferEncoding | (() => void), callback?: () => void): Captured {
  (this[SURFACE] as Surface).end(chunk, encoding, callback);
  return this;
}

function writeHead(this: Captured, status: number, reason?: unknown, headers?: unknown): Captured {
  (this[SURFACE] as Surface).writeHead(status, reason, headers);
  return this;
}

function flushHeaders(this: Captured): void {
  (this[SURFACE] as Surface).flushHeaders();
}

function addTrailers(this: Captured, trailers: Trailers): void {
  (this[SURFACE] as Surface).addTrailers(trailers);
}

function destroy(this: Captured, error?: Error): Captured {
  (this[SURFACE] as Surface).destroy(error);
  return this;
}

function emit(this: Captured, event: string | symbol, ...args: unknown[]): boolean {
  return (this[SURFACE] as Surface).emit(event, args);
}

const WRITABLE_ENDED = {
  configurable: true,
  get(this: Captured) {
    return (this[SURFACE] as Surface).endedHere() || Reflect.get(Object.getPrototypeOf(this) as object, "writableEnded", this);
  },
};

const HEADERS_SENT = {
  configurable: true,
  get(this: Captured) {
    return (this[SURFACE] as Surface).begunHere() || Reflect.get(Object.getPrototypeOf(this) as object, "headersSent", this);
  },
};
