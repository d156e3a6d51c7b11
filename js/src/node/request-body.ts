/** The body of a request, read and left in its place. */
import type { IncomingMessage } from "node:http";
import type { Unread } from "../gate/gate.js";
import { Pieces } from "../gate/pieces.js";
import { keepReadable } from "./disconnect.js";

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
    // One without a byte in it is the same, whoever has read it.
    const empty = req.readableEnded && !(told > 0) && req.headers["transfer-encoding"] === undefined;
    return empty ? NOTHING : "consumed";
  }
  if (req.destroyed || req.errored) return "broken";
  const first = buffered(req, state);
  if (first.length > limit) return "too-large";
  if (state.ended) {
    keepReadable(req);
    return first;
  }
  return new Promise((resolve) => {
    const tee = new Tee(req as Teed, limit, resolve);
    if (first.length > 0) tee.pieces.push(first);
    // The messages of HTTP/1 come by themselves; those of HTTP/2, and of a test without a network, are
    // asked for.
    if (!("_consumed" in req)) req.read(0);
  });
}

/** Takes what still comes of a body that nobody wants, so that the connection goes on. How long that
 *  may take is up to the server's `requestTimeout`. */
export function drain(req: IncomingMessage): void {
  if (!req.readableEnded && !req.destroyed) req.resume();
}

const NOTHING = new Uint8Array();
const TEE = Symbol("idemp.tee");

interface State {
  readonly ended: boolean;
  dataEmitted?: boolean;
}
type Inner = IncomingMessage & { readonly _readableState: State };
type Teed = Inner & { [TEE]?: Tee };

/** What came before anybody asked; it stays where it is. */
function buffered(req: IncomingMessage, state: State): Uint8Array {
  if (req.readableLength === 0) return NOTHING;
  // Those who listen are to hear it once, when it flows.
  const { emit } = req;
  const heard = req.listenerCount("data") > 0;
  if (heard) req.emit = () => false;
  const first = req.read() as Buffer;
  if (heard) req.emit = emit;
  req.unshift(first);
  // For those who ask whether somebody has read it: nobody has.
  state.dataEmitted = false;
  return first;
}

/** Listens at the mouth of a stream: what is pushed into its buffer is noted, and goes on. */
class Tee {
  readonly pieces = new Pieces();
  readonly goesOn: Teed["push"];
  private reading = true;
  private readonly broken = () => this.done(this.req, "broken");

  constructor(
    private readonly req: Teed,
    private readonly limit: number,
    private readonly resolve: (body: Uint8Array | Unread) => void,
  ) {
    this.goesOn = req.push;
    req[TEE] = this;
    req.push = push;
    req.on("close", this.broken);
  }

  /** Whether to have more, whatever the buffer of the stream was made for. */
  take(chunk: unknown, encoding: BufferEncoding | undefined): boolean {
    if (!this.reading) return false;
    if (chunk === null) {
      keepReadable(this.req);
      this.done(this.req, this.pieces.bytes());
    } else {
      const piece = typeof chunk === "string" ? Buffer.from(chunk, encoding) : (chunk as Uint8Array);
      if (piece.length > this.limit - this.pieces.length) this.done(this.req, "too-large");
      else this.pieces.push(piece);
    }
    return this.reading;
  }

  private done(req: Teed, body: Uint8Array | Unread): void {
    this.reading = false;
    req.removeListener("close", this.broken);
    this.resolve(body);
  }
}

/** In the place of `req.push`. */
function push(this: Teed, chunk: unknown, encoding?: BufferEncoding): boolean {
  const tee = this[TEE] as Tee;
  const wanted = tee.take(chunk, encoding);
  return tee.goesOn.call(this, chunk, encoding) || wanted;
}
