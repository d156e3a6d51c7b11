/** A client that goes away does not stop what it has asked for. */
import type { IncomingMessage } from "node:http";
import type { Socket } from "node:net";

/**
 * From here on, until {@link letGo}, a request whose body came whole can be read though its client is
 * gone. Otherwise the rest of the way would find it empty: a parser takes it for one that was parsed
 * already, and the handler executes something else than what was asked for.
 */
export function keepReadable(req: IncomingMessage): void {
  const kept = req as Kept;
  if (kept[DESTROY]) return;
  kept[DESTROY] = req.destroy;
  req.destroy = destroy;
}

/** What was kept from the request is told. */
export function letGo(req: IncomingMessage): void {
  const { [GONE]: error, [DESTROY]: destroy } = req as Kept;
  if (!destroy) return;
  req.destroy = destroy;
  if (error) req.destroy(error);
}

/** Whether its client went away since its body is there. */
export function isGone(req: IncomingMessage): boolean {
  return (req as Kept)[GONE] !== undefined;
}

/** A socket that is closed, and does not show it: libraries ask it whether there is anything left to
 *  read or to write. */
export function unclosed(socket: Socket): Socket {
  return Object.create(socket, { readable: { value: true }, writable: { value: true } }) as Socket;
}

const DESTROY = Symbol("idemp.destroy");
const GONE = Symbol("idemp.gone");

type Kept = IncomingMessage & { [DESTROY]?: IncomingMessage["destroy"]; [GONE]?: Error };

/** In the place of `req.destroy`. */
function destroy(this: Kept, error?: Error): Kept {
  // This is how the server tells of it. Anybody else means what it says.
  if ((error as NodeJS.ErrnoException | undefined)?.code === "ECONNRESET" && !this.readableEnded) {
    this[GONE] = error as Error;
    if (Object.hasOwn(this, "socket")) this.socket = unclosed(this.socket);
    return this;
  }
  return (this[DESTROY] as IncomingMessage["destroy"]).call(this, error) as Kept;
}
