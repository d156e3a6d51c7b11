/** A request's way through the gate, on `node:http`. */
import type { IncomingMessage, ServerResponse } from "node:http";
import type { Answer } from "../gate/answer.js";
import type { Execution } from "../gate/execution.js";
import type { Admitted, Entered, Gate, Unread } from "../gate/gate.js";
import type { Owner } from "../gate/owner.js";
import { coded, send } from "./answer.js";
import { isGone, letGo } from "./disconnect.js";
import { cameWhole, drain, readBody } from "./request-body.js";
import { capture } from "./response-capture.js";
import { nextTurn } from "./turn.js";

/** One request `R` of a framework, on its way. */
export abstract class Exchange<R> {
  private flowed = false;

  constructor(
    private readonly gate: Gate<R>,
    readonly request: R,
    readonly req: IncomingMessage,
    readonly res: ServerResponse,
  ) {}

  /** The target of the request as it came, the query included. */
  protected abstract url(): string;
  /** Hands it on, with its execution where it is protected. */
  protected abstract next(execution: Execution | undefined): void;
  protected abstract fail(error: unknown): void;
  /** The response is about to be written without the framework. */
  protected takeOver(): void {}
  /** Of a middleware outside. */
  protected abstract execution(): Execution | undefined;
  /** The bytes of a body that somebody has read and kept. */
  protected kept(): Uint8Array | undefined {
    return undefined;
  }

  /** Answers it, or hands it on. Where it has a key its response is captured then. `body` is what
   *  was read of it, where that was done before. */
  admit(entered = this.enter(), body?: Read): void {
    if (entered.type === "pass") return this.next(undefined);
    if (entered.type === "answer") return this.answer(entered.answer);
    // Somebody outside listens already: it is to hear what comes together with those behind.
    if (this.req.readableFlowing) {
      this.req.pause();
      this.flowed = true;
    }
    const url = this.url();
    const question = url.indexOf("?");
    const target = {
      method: this.req.method ?? "",
      path: question < 0 ? url : url.slice(0, question),
      query: question < 0 ? undefined : url.slice(question + 1),
      contentType: this.req.headers["content-type"],
    };
    const bytes = async () => {
      // What came together with the head is there by then, and nothing has to listen for it.
      if (body === undefined) await nextTurn();
      return this.ofKept(await (body ?? this.read()));
    };
    this.gate
      .admit(entered.entry, this.request, target, bytes, undefined, this.execution())
      .then((admitted) => this.goOn(admitted))
      .catch((error: unknown) => this.fail(error));
  }

  /** What there is to do before its body is read. */
  enter(): Entered {
    const { req, res } = this;
    return this.gate.enter(req.method ?? "", valuesOf(req, "idempotency-key"), requestIdOf(req, res));
  }

  read(): Read {
    // Its reader has no more than that, and may not bear to be read twice.
    if (cameWhole(this.req) && this.kept() !== undefined) return "consumed";
    return readBody(this.req, this.gate.bodyLimit);
  }

  private goOn(admitted: Admitted): void | Promise<void> {
    const { req } = this;
    if (admitted.type === "answer") return this.answer(admitted.answer);
    if (admitted.type === "execute") {
      const { owner } = admitted;
      if (this.res.headersSent) return this.tooLate(owner);
      if (owner.isOver()) return owner.leave().then(() => this.answer(owner.comeAgain()));
      capture(req, this.res, owner, this.gate);
      return this.handOn(owner.execution);
    }
    // Where nobody is there any more, nothing binds the server to do it.
    const gone = isGone(req);
    letGo(req);
    if (gone) return;
    this.handOn(undefined);
  }

  /** Somebody outside has answered meanwhile, such as a limit of time: nothing is executed any more. */
  private tooLate(owner: Owner): void {
    const { req, res } = this;
    void owner.leave();
    letGo(req);
    if (!res.writableEnded) this.fail(coded(Error, "ERR_HTTP_HEADERS_SENT", "The response had begun before the request was admitted"));
  }

  private handOn(execution: Execution | undefined): void {
    if (this.flowed) this.req.resume();
    this.next(execution);
  }

  private answer(answer: Answer): void {
    const { req, res } = this;
    letGo(req);
    if (res.headersSent) return;
    this.takeOver();
    send(answer, res);
    drain(req);
  }

  private ofKept(read: Uint8Array | Unread): Uint8Array | Unread {
    if (read !== "consumed") return read;
    const kept = this.kept();
    if (kept === undefined) return read;
    return kept.length > this.gate.bodyLimit ? "too-large" : kept;
  }
}

type Read = ReturnType<typeof readBody>;

/** The values of a header, one per line of it. Requests that came over no connection, such as those of a
 *  function in a cloud, may have none of the lines. */
function valuesOf(req: IncomingMessage, name: string): readonly string[] {
  const { rawHeaders } = req;
  let values = NONE;
  for (let at = 0; at < rawHeaders.length; at += 2) {
    const header = rawHeaders[at] as string;
    if (header.length !== name.length || header.toLowerCase() !== name) continue;
    if (values === NONE) values = [];
    values.push(rawHeaders[at + 1] as string);
  }
  if (values !== NONE) return values;
  const value = req.headers[name];
  if (value === undefined) return NONE;
  return Array.isArray(value) ? value : [value];
}

const NONE: string[] = [];

/** Of the client, or of whoever stands outside. */
function requestIdOf(req: IncomingMessage, res: ServerResponse): string | undefined {
  const id = valuesOf(req, "x-request-id")[0] ?? res.getHeader("x-request-id");
  return typeof id === "string" ? id : undefined;
}
