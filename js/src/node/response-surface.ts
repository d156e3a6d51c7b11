/** What stands in the place of a response's own functions. */
import type { IncomingMessage, ServerResponse } from "node:http";

/** Is given what a handler does to its response, as long as it takes it. */
export interface Surface {
  takes(): boolean;
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

/** A response with the fields that `node:http` keeps for HTTP/1. */
export type Captured = ServerResponse & { _header?: string | null; _closed?: boolean };

const NAMES = ["write", "end", "writeHead", "flushHeaders", "addTrailers", "destroy", "emit"] as const;
type Name = (typeof NAMES)[number];

/** Functions of a response. */
export type Functions = Pick<ServerResponse, Name>;

/** A surface in its place. */
export interface Standing {
  readonly surface: Surface;
  /** What it stands before. */
  readonly outer: Functions;
  /** Whether functions stand on the prototype. */
  readonly shared: boolean;
  /** The names of the functions that stand on the response itself, where others stand on the prototype. */
  readonly own: readonly Name[] | undefined;
  /** The `writeHead` that the handler is given. */
  readonly writeHead: ServerResponse["writeHead"];
}

/**
 * Puts it there. The functions are the same on all responses. They stand on the response itself, since a
 * framework may give it another prototype further in; or on the prototype that the responses of all
 * applications of Express have in common, whichever of them it is handed to. Express changes the prototype
 * of each response, and then every property that one is given costs V8 more than all the rest of this.
 *
 * `tells` says whether the response knows by its own fields that its head was given.
 */
export function stand(surface: Surface, res: Captured, tells: boolean): Standing {
  if (standings.get(res)?.surface.takes()) return standInside(surface, res, tells);
  const prototype = tells ? expressOf(res) : undefined;
  const standing = prototype ? onPrototype(surface, res, prototype) : onItself(surface, res, tells);
  standings.set(res, standing);
  return standing;
}

/** It takes nothing any more. Where nothing stands on the response itself it is as if it had never been. */
export function leave(res: Captured, { own, shared }: Standing): void {
  if (shared && !own) standings.delete(res);
}

/** The prototype that the requests, or the responses, of all applications of a copy of Express inherit
 *  from: behind that of the outermost application, and before that of Node's, which is for everybody. An
 *  application may be called by another one without being mounted there, and has nothing else in common
 *  with it. */
export function expressOf(message: IncomingMessage | ServerResponse): object | undefined {
  const top = Object.getPrototypeOf(message) as object;
  let found = expresses.get(top);
  if (!found) expresses.set(top, (found = { express: expressBehind(top) }));
  return found.express;
}

/** By the prototype of a message. An application has one for all its messages. */
const expresses = new WeakMap<object, { readonly express: object | undefined }>();

function expressBehind(top: object): object | undefined {
  let outermost: object | undefined;
  for (let at: object | null = top; at && !isOfNode(at); at = Object.getPrototypeOf(at) as object | null) {
    if (Object.hasOwn(at, "app")) outermost = at;
  }
  const express = outermost && (Object.getPrototypeOf(outermost) as object);
  return express && isOfNode(express) ? outermost : express;
}

/** Whether it is the prototype of `IncomingMessage`, or that of `ServerResponse`. */
function isOfNode(prototype: object): boolean {
  return Object.hasOwn(prototype, "setTimeout") || Object.hasOwn(prototype, "assignSocket");
}

const standings = new WeakMap<object, Standing>();
/** What was on a prototype before. */
const grounds = new WeakMap<object, Functions>();

function onItself(surface: Surface, res: Captured, tells: boolean): Standing {
  const outer = { ...pick(res) };
  Object.assign(res, OWN);
  Object.defineProperty(res, "writableEnded", WRITABLE_ENDED);
  if (!tells) Object.defineProperty(res, "headersSent", HEADERS_SENT);
  return { surface, outer, shared: false, own: undefined, writeHead: OWN.writeHead };
}

/** Inside of another one, which stays in its place: what this one does not take is given to that. */
function standInside(surface: Surface, res: Captured, tells: boolean): Standing {
  const outer = { ...pick(res) };
  Object.assign(res, functionsOver(outer, surface));
  const tell = (name: "writableEnded" | "headersSent", here: () => boolean) => {
    const own = Object.getOwnPropertyDescriptor(res, name)?.get;
    const outside = () => (own ? own.call(res) : Reflect.get(Object.getPrototypeOf(res) as object, name, res)) as boolean;
    Object.defineProperty(res, name, { configurable: true, get: () => here() || outside() });
  };
  tell("writableEnded", () => surface.endedHere());
  if (!tells) tell("headersSent", () => surface.begunHere());
  return { surface, outer, shared: false, own: undefined, writeHead: res.writeHead };
}

function onPrototype(surface: Surface, res: Captured, prototype: object): Standing {
  let ground = grounds.get(prototype);
  if (!ground) {
    ground = pick(prototype as ServerResponse);
    grounds.set(prototype, ground);
    for (const [name, value] of Object.entries(functionsOver(ground))) {
      Object.defineProperty(prototype, name, { value, writable: true, configurable: true });
    }
    Object.defineProperty(prototype, "writableEnded", WRITABLE_ENDED_OF(prototype));
  }
  // Who stands outside has put some on the response, or on the prototype of its application, and would be
  // asked before this one.
  let own: Name[] | undefined;
  let outer = ground;
  for (const name of NAMES) {
    if (res[name] === (prototype as Functions)[name]) continue;
    if (!own) {
      own = [];
      outer = { ...ground };
    }
    own.push(name);
    Object.assign(outer, { [name]: res[name] });
    Object.assign(res, { [name]: OWN[name] });
  }
  return { surface, outer, shared: true, own, writeHead: res.writeHead };
}

function pick(from: ServerResponse): Functions {
  const { write, end, writeHead, flushHeaders, addTrailers, destroy, emit } = from;
  return { write, end, writeHead, flushHeaders, addTrailers, destroy, emit };
}

/** Functions that stand before those of `ground`, or, without one, before those that the response had; or
 *  always for `inside`. */
function functionsOver(ground?: Functions, inside?: Surface): Functions {
  const takes = (res: object, name: Name): Surface | undefined => {
    if (inside) return inside.takes() ? inside : undefined;
    const standing = standings.get(res);
    if (!standing?.surface.takes()) return undefined;
    return ground && standing.own?.includes(name) ? undefined : standing.surface;
  };
  const outer = (res: object): Functions => ground ?? (standings.get(res) as Standing).outer;
  type Any = (...given: unknown[]) => never;
  const functions = {
    write(this: ServerResponse, chunk: unknown, encoding?: BufferEncoding | Callback, callback?: Callback): boolean {
      const surface = takes(this, "write");
      if (surface) return surface.write(chunk, encoding, callback);
      return (outer(this).write as Any).call(this, chunk, encoding, callback);
    },
    end(this: ServerResponse, chunk?: unknown, encoding?: BufferEncoding | (() => void), callback?: () => void) {
      const surface = takes(this, "end");
      if (!surface) return (outer(this).end as Any).call(this, chunk, encoding, callback);
      surface.end(chunk, encoding, callback);
      return this;
    },
    writeHead(this: ServerResponse, status: number, reason?: unknown, headers?: unknown) {
      const surface = takes(this, "writeHead");
      if (!surface) return (outer(this).writeHead as Any).call(this, status, reason, headers);
      surface.writeHead(status, reason, headers);
      return this;
    },
    flushHeaders(this: ServerResponse): void {
      const surface = takes(this, "flushHeaders");
      if (surface) surface.flushHeaders();
      else outer(this).flushHeaders.call(this);
    },
    addTrailers(this: ServerResponse, trailers: Trailers): void {
      const surface = takes(this, "addTrailers");
      if (surface) surface.addTrailers(trailers);
      else outer(this).addTrailers.call(this, trailers);
    },
    destroy(this: ServerResponse, error?: Error) {
      const surface = takes(this, "destroy");
      if (!surface) return outer(this).destroy.call(this, error);
      surface.destroy(error);
      return this;
    },
    emit(this: ServerResponse, event: string | symbol, ...args: unknown[]): boolean {
      const surface = takes(this, "emit");
      return surface ? surface.emit(event, args) : (outer(this).emit as Any).call(this, event, ...args);
    },
  };
  return functions as unknown as Functions;
}

const OWN = functionsOver();

const WRITABLE_ENDED_OF = (prototype?: object) => ({
  configurable: true,
  get(this: ServerResponse): unknown {
    if (standings.get(this)?.surface.endedHere()) return true;
    return Reflect.get(Object.getPrototypeOf(prototype ?? this) as object, "writableEnded", this);
  },
});

const WRITABLE_ENDED = WRITABLE_ENDED_OF();

const HEADERS_SENT = {
  configurable: true,
  get(this: ServerResponse): unknown {
    if (standings.get(this)?.surface.begunHere()) return true;
    return Reflect.get(Object.getPrototypeOf(this) as object, "headersSent", this);
  },
};
