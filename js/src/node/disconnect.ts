/** A client that goes away does not stop what it has asked for. */
import type { IncomingMessage } from "node:http";
import type { Socket } from "node:net";
import { expressOf } from "./response-surface.js";

/**
 * From here on, until {@link letGo}, a request whose body came whole can be read though its client is
 * gone. Otherwise the rest of the way would find it empty: a parser takes it for one that was parsed
 * already, and the handler executes something else than what was asked for.
 */
export function keepReadable(req: IncomingMessage): void {
  const state = keep(req);
  if (state.reading) state.reading = undefined;
}

/** Until {@link keepReadable}, whoever reads it is told where its client goes away. */
export function tellBroken(req: IncomingMessage, reading: Reading): void {
  keep(req).reading = reading;
}

/** Whoever reads the body of a request. */
export interface Reading {
  end(why: "broken"): void;
}

function keep(req: IncomingMessage): Kept {
  let state = kept.get(req);
  if (state) return state;
  const express = Object.hasOwn(req, "destroy") ? undefined : expressOf(req);
  if (express) {
    if (!grounds.has(express)) {
      grounds.set(express, (express as IncomingMessage).destroy);
      Object.defineProperty(express, "destroy", { value: destroyOver(express), writable: true, configurable: true });
    }
    state = { destroy: undefined, gone: undefined, reading: undefined };
  } else {
    state = { destroy: req.destroy, gone: undefined, reading: undefined };
    req.destroy = destroy;
  }
  kept.set(req, state);
  return state;
}

/** What was kept from the request is told. */
export function letGo(req: IncomingMessage): void {
  const { destroy, gone } = kept.get(req) ?? {};
  kept.delete(req);
  if (destroy) req.destroy = destroy;
  if (gone) req.destroy(gone);
}

/** Whether its client went away since its body is there. */
export function isGone(req: IncomingMessage): boolean {
  return kept.get(req)?.gone !== undefined;
}

/** A socket that is closed, and does not show it: libraries ask it whether there is anything left to
 *  read or to write. */
export function unclosed(socket: Socket): Socket {
  return Object.create(socket, { readable: { value: true }, writable: { value: true } }) as Socket;
}

interface Kept {
  /** Of the request, where it does not stand on the prototype of Express. */
  readonly destroy: IncomingMessage["destroy"] | undefined;
  gone: Error | undefined;
  reading: Reading | undefined;
}

const kept = new WeakMap<IncomingMessage, Kept>();
/** The `destroy` that was on a prototype before. */
const grounds = new WeakMap<object, IncomingMessage["destroy"]>();

/** In the place of `req.destroy`. */
function destroyOver(express?: object) {
  return function destroy(this: IncomingMessage, error?: Error): IncomingMessage {
    const state = kept.get(this);
    const outer = express ? grounds.get(express) : state?.destroy;
    if (state?.reading) {
      state.reading.end("broken");
      letGo(this);
    } else if (state && isDisconnect(error) && !this.readableEnded) {
      state.gone = error;
      if (Object.hasOwn(this, "socket")) this.socket = unclosed(this.socket);
      return this;
    }
    return (outer as IncomingMessage["destroy"]).call(this, error);
  };
}

const destroy = destroyOver() as IncomingMessage["destroy"];

/** This is how the server tells of it. Anybody else means what it says. */
function isDisconnect(error: NodeJS.ErrnoException | undefined): error is Error {
  return error?.code === "ECONNRESET";
}
