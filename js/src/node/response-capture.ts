/** A response, held back until what became of it is stored. */
import type { IncomingMessage, OutgoingHttpHeaders, ServerResponse } from "node:http";
import { isPromise } from "../driver.js";
import type { Answer } from "../gate/answer.js";
import type { Owner } from "../gate/owner.js";
import { Pieces } from "../gate/pieces.js";
import { LONGEST_TIMER } from "../span.js";
import { bodyless, bufferOf, coded, linesOf, owned, restoreHeaders, send, setAll } from "./answer.js";
import { keepReadable, letGo, unclosed } from "./disconnect.js";
import { leave, stand, type Callback, type Captured, type Functions, type Standing, type Surface } from "./response-surface.js";

/** What is held back at most. */
export interface CaptureLimits {
  /** Bytes of a body. */
  readonly responseLimit: number;
  /** Milliseconds, for a body of unknown length. */
  readonly streamAfter: number;
}

/**
 * Holds back what the handler answers from here on, settles the slot by it, and then lets it go, byte for
 * byte as it was given. To the handler the response looks as it always does: `headersSent` and
 * `writableEnded` tell what was asked for, callbacks are called, errors are thrown where they would be.
 * Whatever was put around the response before, compression for example, sees it when it goes out.
 *
 * - An answer to be remembered goes out when it is whole and stored. One that is longer than the limit,
 *   takes longer than `streamAfter` (unless its `Content-Length` is known), or has trailers cannot be
 *   stored: it goes out as it comes.
 * - Any other goes out as it comes, once the slot is settled.
 * - A client that goes away is hidden from the handler until its answer is settled: `close` comes late,
 *   and writing goes on. A response that has begun has `streamAfter` from then on to end.
 * - One that is destroyed, by the handler or by the framework after an error, is not stored, and neither is
 *   one that goes out past this.
 * - One that never begins holds its key until the lease reaches its ceiling.
 */
export function capture(req: IncomingMessage, res: ServerResponse, owner: Owner, limits: CaptureLimits): void {
  new Capture(req, res as Captured, owner, limits);
}

const enum Mode {
  /** Nothing was answered yet. */
  Open,
  /** It began, and is held until it is whole. */
  Held,
  /** It is told to the store. */
  Settling,
  /** It goes where it would have gone. */
  Passing,
  /** Somebody else's answer went out, or nothing does. */
  Discarding,
}

class Capture implements Surface {
  private mode: Mode = Mode.Open;
  private readonly pieces = new Pieces();
  /** The only piece as it was given, where it was plain text: that goes out in one with the head. */
  private text: string | undefined;
  private callbacks: Callback[] | undefined;
  private ended = false;
  private onEnd: (() => void) | undefined;
  private status = 200;
  private reason: string | undefined;
  private bodyless = false;
  private flushed = false;
  private trailers = false;
  private gone = false;
  private waitsForDrain = false;
  private timer: ReturnType<typeof setTimeout> | undefined;
  /** Where a socket that is closed was replaced. */
  private socket: ServerResponse["socket"] | undefined;
  /** Made by `node:http` for HTTP/1, whose responses keep these as fields of their own. */
  private readonly fields: boolean;

  private readonly standing: Standing;
  /** The headers of whoever stands outside. */
  private readonly outerHeaders: OutgoingHttpHeaders;

  constructor(
    private readonly req: IncomingMessage,
    private readonly res: Captured,
    private readonly owner: Owner,
    private readonly limits: CaptureLimits,
  ) {
    this.outerHeaders = res.getHeaders();
    this.fields = Object.hasOwn(res, "_header");
    this.standing = stand(this, res, this.fields);
    keepReadable(req);
    res.on("finish", this.onFinish);
    if (res.destroyed) this.hideClose();
  }

  takes(): boolean {
    return this.mode !== Mode.Passing;
  }

  private get outer(): Functions {
    return this.standing.outer;
  }

  private holds(): boolean {
    return this.mode < Mode.Passing;
  }

  /** Whether the handler has ended it, and it is not out yet. */
  endedHere(): boolean {
    return this.ended && this.holds();
  }

  /** Whether the handler has begun it, and it is not out yet. */
  begunHere(): boolean {
    return this.mode === Mode.Held || this.mode === Mode.Settling;
  }

  write(chunk: unknown, encoding?: BufferEncoding | Callback, callback?: Callback): boolean {
    if (typeof encoding === "function") [callback, encoding] = [encoding, undefined];
    if (chunk === null) throw coded(TypeError, "ERR_STREAM_NULL_VALUES", "May not write null values to stream");
    const piece = owned(chunk, encoding);
    if (this.ended) return this.late(callback);
    this.begin();
    if (this.mode === Mode.Discarding || this.bodyless) {
      if (callback) process.nextTick(callback);
      return true;
    }
    this.pieces.push(piece);
    if (this.mode === Mode.Held) {
      // The handler may wait for it before it goes on, and nothing goes out before it has ended.
      if (callback) process.nextTick(callback);
      if (this.pieces.length > this.limits.responseLimit) this.settleUnstorable();
      else this.wait();
      return true;
    }
    if (callback) (this.callbacks ??= []).push(callback);
    // Who has taken the place of `on` may keep those who wait for `drain`, and they would not hear of it.
    const more = this.pieces.length < this.res.writableHighWaterMark || Object.hasOwn(this.res, "on");
    this.waitsForDrain ||= !more;
    return more;
  }

  end(chunk?: unknown, encoding?: BufferEncoding | (() => void), callback?: () => void): void {
    if (typeof chunk === "function") [callback, chunk, encoding] = [chunk as () => void, undefined, undefined];
    else if (typeof encoding === "function") [callback, encoding] = [encoding, undefined];
    // As the response itself takes it: what is falsy is nothing.
    const piece = chunk ? owned(chunk, encoding) : undefined;
    if (this.ended) {
      if (piece) this.late(callback);
      else if (callback) this.res.once("finish", callback);
      return;
    }
    this.begin();
    if (piece && !this.bodyless) {
      // One byte a character, in whatever encoding: then it is ASCII, or Latin-1.
      if (this.pieces.length === 0 && typeof chunk === "string" && chunk.length === piece.length && PLAIN.has(encoding)) {
        this.text = chunk;
      }
      this.pieces.push(piece);
    }
    this.ended = true;
    this.onEnd = callback;
    if (this.mode === Mode.Held) this.settleWhole();
    else if (this.mode === Mode.Discarding && callback) process.nextTick(callback);
  }

  writeHead(status: number, reason?: unknown, headers?: unknown): void {
    const { res } = this;
    if (this.mode !== Mode.Open) {
      throw coded(Error, "ERR_HTTP_HEADERS_SENT", "Cannot write headers after they are sent to the client");
    }
    const code = checked(status);
    if (typeof reason !== "string") headers ??= reason;
    else if (this.fields) res.statusMessage = reason;
    setAll(res, headers);
    res.statusCode = code;
    this.beginHead();
  }

  flushHeaders(): void {
    this.begin();
    this.flushed = true;
    if (this.mode === Mode.Held) this.wait();
  }

  addTrailers(trailers: Parameters<ServerResponse["addTrailers"]>[0]): void {
    this.trailers = true;
    this.outer.addTrailers.call(this.res, trailers);
  }

  destroy(error?: Error): void {
    if (this.holds() && !this.ended) this.breakOff();
    this.outer.destroy.call(this.res, error);
  }

  emit(event: string | symbol, args: unknown[]): boolean {
    if (event !== "close" || !this.holds()) return this.outer.emit.call(this.res, event, ...args);
    this.hideClose();
    return false;
  }

  private hideClose(): void {
    const { res } = this;
    const { socket } = res;
    this.gone = true;
    if (this.fields) {
      res.destroyed = false;
      res._closed = false;
      this.socket = socket;
      if (socket) (res as { socket: typeof socket }).socket = unclosed(socket);
    }
    if (this.mode !== Mode.Held) return;
    // Where it was this side that closed the connection, the framework has given it up.
    if (socket && !socket.readableEnded && !socket.errored) this.breakOff();
    else this.wait(true);
  }

  private begin(): void {
    if (this.mode !== Mode.Open) return;
    const { res } = this;
    if (res.writeHead !== this.standing.writeHead) {
      // Somebody between here and the handler wants to see the head before it goes.
      res.writeHead(res.statusCode);
      if ((this.mode as Mode) !== Mode.Open) return;
    }
    this.beginHead();
  }

  private beginHead(): void {
    const { res, owner } = this;
    const status = checked(res.statusCode);
    res.statusCode = this.status = status;
    // HTTP/2 has none.
    if (this.fields) this.reason = res.statusMessage;
    this.bodyless = bodyless(status, this.req.method);
    this.mode = Mode.Held;
    // As the response itself knows that its head was given: it refuses headers from now on.
    if (this.fields) res._header = "held";
    const type = res.getHeader("content-type");
    if (!owner.remembers(status, type === undefined ? undefined : String(type)) || this.told() > this.limits.responseLimit) {
      this.settleUnstorable();
    }
  }

  /** The length that the head tells; NaN where it does not. */
  private told(): number {
    return Number(this.res.getHeader("content-length"));
  }

  /** Until the response is a stream. */
  private wait(gone = this.gone): void {
    if (this.timer !== undefined || (!gone && this.told() >= 0)) return;
    this.timer = setTimeout(() => {
      if (this.mode === Mode.Held) this.settleUnstorable();
    }, Math.min(this.limits.streamAfter, LONGEST_TIMER));
  }

  private settleWhole(): void {
    const { res } = this;
    const told = this.told();
    const body = this.pieces.bytes();
    if (
      this.trailers ||
      body.length > this.limits.responseLimit ||
      // It would be cut short, or be more than it says.
      (told >= 0 && told !== body.length && !this.bodyless)
    ) {
      return this.settleUnstorable();
    }
    this.mode = Mode.Settling;
    clearTimeout(this.timer);
    const outcome = { type: "response", status: this.status, headers: linesOf(res), body } as const;
    const instead = this.owner.settle(outcome);
    if (isPromise(instead)) void instead.then(this.release);
    else this.release(instead);
  }

  private settleUnstorable(): void {
    this.mode = Mode.Settling;
    clearTimeout(this.timer);
    // Never at once: what is just being written is to be among the rest.
    void Promise.resolve(this.owner.settle({ type: "unstorable", status: this.status })).then(this.release);
  }

  /** Where it went out past this, nobody knows what was sent. */
  private readonly onFinish = (): void => {
    if (this.holds()) this.breakOff();
  };

  /** There will be no more of it, and what there is, is not all. */
  private breakOff(): void {
    if (this.mode === Mode.Settling) {
      this.mode = Mode.Discarding;
      return;
    }
    if (this.mode === Mode.Open) this.status = this.res.statusCode;
    this.mode = Mode.Discarding;
    clearTimeout(this.timer);
    void Promise.resolve(this.owner.settle({ type: "unstorable", status: this.status })).then(() => this.reappear());
  }

  private readonly release = (instead: Answer | undefined): void => {
    const { res } = this;
    if (this.mode === Mode.Discarding) return this.reappear();
    this.mode = Mode.Passing;
    if (this.fields) res._header = null;
    this.showClosed();
    try {
      if (instead) this.replace(instead);
      else this.letOut();
    } catch (error) {
      // What the response itself would have refused at once.
      res.destroy(error as Error);
    }
    this.reappear();
    if (this.mode === Mode.Passing) leave(res, this.standing);
  };

  private letOut(): void {
    const { res, outer } = this;
    res.statusCode = this.status;
    if (this.reason !== undefined) res.statusMessage = this.reason;
    const body = this.pieces.bytes();
    if (this.ended && !this.trailers) {
      // A text goes out in one piece with the head. Always in Latin-1: in another encoding the head would
      // go out in that, and other bytes than on a replay.
      const { end } = outer;
      if (this.text !== undefined) end.call(res, this.text, "latin1", this.onEnd);
      else if (body.length > 0) end.call(res, bufferOf(body), "utf8", this.onEnd);
      else end.call(res, undefined, "utf8", this.onEnd);
    } else {
      let more = true;
      if (body.length > 0) more = outer.write.call(res, bufferOf(body), "utf8");
      else if (this.flushed) outer.flushHeaders.call(res);
      if (this.ended) outer.end.call(res, undefined, "utf8", this.onEnd);
      else if (this.waitsForDrain && more) process.nextTick(() => res.emit("drain"));
    }
    if (this.callbacks) for (const callback of this.callbacks) process.nextTick(callback);
  }

  /** Somebody else's answer counts. What the handler still writes goes nowhere. */
  private replace(answer: Answer): void {
    const { res } = this;
    restoreHeaders(res, this.outerHeaders);
    if (this.fields) res.statusMessage = undefined as unknown as string;
    send(answer, res, this.outer.end);
    if (this.callbacks) for (const callback of this.callbacks) process.nextTick(callback);
    if (this.onEnd) res.once("finish", this.onEnd);
    if (this.ended) return;
    this.mode = Mode.Discarding;
    if (this.waitsForDrain) process.nextTick(() => res.emit("drain"));
  }

  /** What was hidden from the handler is told. */
  private reappear(): void {
    letGo(this.req);
    if (!this.gone) return;
    this.showClosed();
    this.gone = false;
    this.outer.emit.call(this.res, "close");
  }

  private showClosed(): void {
    const { res, socket } = this;
    if (!this.gone || !this.fields) return;
    res.destroyed = true;
    res._closed = true;
    if (socket !== undefined) (res as { socket: typeof socket }).socket = socket;
  }

  private late(callback: Callback | undefined): false {
    const error = coded(Error, "ERR_STREAM_WRITE_AFTER_END", "write after end");
    process.nextTick(() => {
      callback?.(error);
      // Where nobody listens it would end the process: later than without this, where the response would
      // have been out, and would not have told of it.
      if (!this.res.destroyed && this.res.listenerCount("error") > 0) this.res.emit("error", error);
    });
    return false;
  }
}

const PLAIN: ReadonlySet<string | undefined> = new Set([undefined, "utf8", "utf-8", "latin1", "binary"]);

function checked(status: number): number {
  const code = status | 0;
  if (code >= 100 && code <= 999) return code;
  throw coded(RangeError, "ERR_HTTP_INVALID_STATUS_CODE", `Invalid status code: ${status}`);
}
