/** A client that sends what it is told, byte for byte, and keeps what came back. */
import { connect, type Socket } from "node:net";
import { bytesOf, type Header, type Request } from "./case.js";
import { inTime } from "./gates.js";

/** An answer as it came. */
export interface Answer {
  readonly status: number;
  /** Names as they were written, values in Latin-1. */
  readonly headers: readonly Header[];
  readonly body: Buffer;
  /** Whether all of it came. */
  readonly whole: boolean;
  /** Whether it can have no body, whatever its length says. */
  readonly headOnly: boolean;
}

/** A request on a connection of its own. */
export class Exchange {
  private received = Buffer.alloc(0);
  private ended = false;
  private wake = () => {};
  private readonly socket: Socket;
  private readonly headOnly: boolean;

  constructor(port: number, request: Request) {
    this.headOnly = request.method === "HEAD";
    this.socket = connect(port, "127.0.0.1");
    this.socket.write(encoded(request));
    this.socket.on("data", (data) => {
      this.received = Buffer.concat([this.received, data]);
      this.wake();
    });
    // A server may answer and close before it has read everything.
    this.socket.on("error", () => undefined);
    this.socket.on("close", () => {
      this.ended = true;
      this.wake();
    });
  }

  /** The answer, when the server has closed the connection. */
  async answer(): Promise<Answer | undefined> {
    await this.until(() => this.ended, "an answer");
    return parsed(this.received, this.headOnly);
  }

  /** Waits until the body begins so. */
  async begins(body: Buffer): Promise<void> {
    const begun = () => parsed(this.received, this.headOnly)?.body.subarray(0, body.length).equals(body) ?? false;
    await this.until(begun, "the beginning of the body");
  }

  drop(): void {
    this.socket.destroy();
  }

  private async until(holds: () => boolean, what: string): Promise<void> {
    while (!holds()) {
      const woken = new Promise<void>((resolve) => (this.wake = resolve));
      await inTime(woken, () => `${what} never came; what came is ${this.received.toString("latin1")}`);
    }
  }
}

function encoded(request: Request): Buffer {
  const { method = "POST", path = "/tasks", user = "ada", type = "application/json", key, headers = [] } = request;
  const lines = [`${method} ${path} HTTP/1.1`, "host: localhost", "connection: close"];
  if (user !== null) lines.push(`x-user: ${user}`);
  if (type !== null) lines.push(`content-type: ${type}`);
  for (const value of keysOf(key)) lines.push(`idempotency-key: ${value}`);
  for (const [name, value] of headers) lines.push(`${name}: ${value}`);
  let body: Buffer;
  if (request.chunks) {
    lines.push("transfer-encoding: chunked");
    const chunks = request.chunks.map((piece) => `${piece.length.toString(16)}\r\n${piece}\r\n`);
    body = Buffer.from(`${chunks.join("")}0\r\n\r\n`);
  } else {
    body = bytesOf(request.body ?? "{}");
    lines.push(`content-length: ${request.length ?? body.length}`);
  }
  return Buffer.concat([Buffer.from(`${lines.join("\r\n")}\r\n\r\n`, "latin1"), body]);
}

function keysOf(key: Request["key"]): readonly string[] {
  if (key === undefined) return [];
  if (typeof key === "string") return [key];
  return "repeat" in key ? [key.repeat.repeat(key.times)] : key;
}

/** What there is of an answer; nothing without a whole head. */
function parsed(bytes: Buffer, headOnly: boolean): Answer | undefined {
  const end = bytes.indexOf("\r\n\r\n");
  if (end < 0) return undefined;
  const [line, ...lines] = bytes.toString("latin1", 0, end).split("\r\n");
  const status = Number(line?.split(" ")[1]);
  const headers = lines.map((line): Header => {
    const colon = line.indexOf(":");
    return [line.slice(0, colon), line.slice(colon + 1).replace(/^[ \t]+|[ \t]+$/g, "")];
  });
  const value = (wanted: string) => headers.find(([name]) => name.toLowerCase() === wanted)?.[1];
  const rest = bytes.subarray(end + 4);
  const length = value("content-length");
  const answer = { status, headers, headOnly };
  if (headOnly || status === 204 || status === 304) return { ...answer, body: rest, whole: true };
  if (value("transfer-encoding") !== undefined) return { ...answer, ...unchunked(rest) };
  return { ...answer, body: rest, whole: length === undefined || rest.length === Number(length) };
}

/** The chunks so far, and whether the last one came. */
function unchunked(bytes: Buffer): { body: Buffer; whole: boolean } {
  const pieces: Buffer[] = [];
  const told = (whole: boolean) => ({ body: Buffer.concat(pieces), whole });
  for (let at = 0; ; ) {
    const end = bytes.indexOf("\r\n", at);
    if (end < 0) return told(false);
    const length = Number.parseInt(bytes.toString("latin1", at, end), 16);
    if (length === 0) return told(true);
    if (bytes.length < end + 2 + length) return told(false);
    pieces.push(bytes.subarray(end + 2, end + 2 + length));
    at = end + 4 + length;
  }
}
