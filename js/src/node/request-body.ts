/** The body of a request, read and left in its place. */
import type { IncomingMessage } from "node:http";
import type { Unread } from "../gate/gate.js";
import { Pieces } from "../gate/pieces.js";
import { keepReadable, tellBroken } from "./disconnect.js";
import { expressOf } from "./response-surface.js";

/**
 * The body, of at most `limit` bytes. Whoever reads the request afterwards finds it untouched: the
 * bytes stay in its buffer, and neither `data` nor `end` is emitted before somebody wants them. So
 * body parsers, `pipe`, `for await` and `req.on("data")` work behind it.
 *
 * One that came whole stays readable though its client goes away, until it is let go.
 * Too large a body is not taken in; it is the caller's to drain it (see {@link drain}).
 */
export function readBody(req: IncomingMessage, limit: number): Promise<Uint8Array | Unread> | Uint8Array | Unread {
  const told = Number(req.headers["content-length"]);
  if (told > limit) return "too-large";
  const state = (req as Inner)._readableState;
  if (req.readableEnded || req.readableDidRead || req.readableEncoding !== null) {
    // One without a byte in it is the same, whoever has read it. In HTTP/2 no header has to tell of a body.
    const silent = !(told > 0) && req.headers["transfer-encoding"] === undefined;
    const empty = req.readableEnded && silent && (req.httpVersionMajor < 2 || told === 0 || !req.readableDidRead);
    return empty ? NOTHING : "consumed";
  }
  if (req.destroyed || req.errored) return "broken";
  if (cameWhole(req) && !(told > 0)) return NOTHING;
  const first = buffered(req, state);
  if (first.length > limit) return "too-large";
  if (state.ended) {
    keepReadable(req);
    return first;
  }
  return new Promise((resolve) => {
    const tee = new Tee(req, limit, told, resolve);
    if (first.length > 0) tee.pieces.push(first);
    // The messages of HTTP/1 come by themselves until they fill their buffer, and are destroyed where
    // their client goes away. Those of HTTP/2, and those that came over no connection, are asked for.
    const asks = !("_consumed" in req) || cameWhole(req);
    if (asks) req.on("close", () => tee.end("broken"));
    if (req.readableLength >= req.readableHighWaterMark) req._read(0);
    else if (asks) req.read(0);
  });
}

/** Whether it came over no connection, such as one to a function in a cloud: it is made like those of
 *  HTTP/1, of an event that has all of it, and is read in a way of its own. */
export function cameWhole(req: IncomingMessage): boolean {
  return Object.hasOwn(req, "_read");
}

/** Takes what still comes of a body that nobody wants, so that the connection goes on. How long that
 *  may take is up to the server's `requestTimeout`. */
export function drain(req: IncomingMessage): void {
  if (!req.readableEnded && !req.destroyed) req.resume();
}

const NOTHING = new Uint8Array();

interface State {
  readonly length: number;
  readonly ended: boolean;
  dataEmitted?: boolean;
  /** A list in Node 20, from 22 on an array whose first members may be gone. */
  readonly buffer?: readonly Buffer[] | { readonly head: Piece | null };
  readonly bufferIndex?: number;
}
interface Piece {
  readonly data: Buffer;
  readonly next: Piece | null;
}
type Inner = IncomingMessage & { readonly _readableState: State };

/** What came before anybody asked; it stays where it is. */
function buffered(req: IncomingMessage, state: State): Uint8Array {
  const { length } = state;
  if (length === 0) return NOTHING;
  const pieces = new Pieces();
  const { buffer } = state;
  if (buffer && "head" in buffer) {
    for (let piece = buffer.head; piece; piece = piece.next) pieces.push(piece.data);
  } else if (buffer) {
    for (let at = state.bufferIndex ?? 0; at < buffer.length; at++) pieces.push(buffer[at] as Buffer);
  }
  return pieces.length === length ? pieces.bytes() : taken(req, state);
}

/** The same, where the stream keeps it in a way of its own. */
function taken(req: IncomingMessage, state: State): Uint8Array {
  // Those who listen are to hear it once, when it flows.
  const { emit } = req;
  req.emit = () => false;
  const first = req.read() as Buffer;
  req.emit = emit;
  req.unshift(first);
  // For those who ask whether somebody has read it: nobody has.
  state.dataEmitted = false;
  return first;
}

/** Listens at the mouth of a stream: what is pushed into its buffer is noted, and goes on. */
class Tee {
  readonly pieces = new Pieces();
  private reading = true;

  constructor(
    private readonly req: IncomingMessage,
    private readonly limit: number,
    /** The length that the head tells, or NaN. */
    private readonly told: number,
    private readonly resolve: (body: Uint8Array | Unread) => void,
  ) {
    tees.set(req, this);
    tellBroken(req, this);
    listen(req);
  }

  /** Whether to have more, whatever the buffer of the stream was made for. */
  take(chunk: unknown, encoding: BufferEncoding | undefined): boolean {
    if (!this.reading) return false;
    if (chunk === null) {
      // A client that went away may look like the end.
      const whole = !this.req.aborted && !(this.told >= 0 && this.told !== this.pieces.length);
      this.end(whole ? this.pieces.bytes() : "broken");
    } else {
      const piece = typeof chunk === "string" ? Buffer.from(chunk, encoding) : (chunk as Uint8Array);
      if (piece.length > this.limit - this.pieces.length) this.end("too-large");
      else this.pieces.push(piece);
    }
    return this.reading;
  }

  end(body: Uint8Array | Unread): void {
    if (!this.reading) return;
    this.reading = false;
    // What a weak map holds costs a collection of garbage more than the rest of a request.
    tees.delete(this.req);
    if (body !== "broken") keepReadable(this.req);
    this.resolve(body);
  }
}

const tees = new WeakMap<IncomingMessage, Tee>();
type Push = (this: IncomingMessage, chunk: unknown, encoding?: BufferEncoding) => boolean;
/** The `push` that was there before: of a request, or of the prototype of Express. */
const grounds = new WeakMap<object, Push>();

/** See {@link expressOf} for where. */
function listen(req: IncomingMessage): void {
  const at = expressOf(req) ?? req;
  if (grounds.has(at)) return;
  const ground = (at as IncomingMessage).push as Push;
  grounds.set(at, ground);
  const value: Push = function push(chunk, encoding) {
    const wanted = tees.get(this)?.take(chunk, encoding);
    return ground.call(this, chunk, encoding) || wanted === true;
  };
  Object.defineProperty(at, "push", { value, writable: true, configurable: true });
}
