import { Agent, createServer, request, type IncomingMessage, type RequestListener, type Server } from "node:http";
import { once } from "node:events";
import { connect, type AddressInfo, type Socket } from "node:net";
import type { TestContext } from "node:test";

/** A server on a loopback port, and a client with one connection that it keeps. */
export interface Loopback {
  readonly server: Server;
  readonly port: number;
  ask(asked?: Asked): Promise<Answered>;
  /** Sends the request, and gives the connection before anything was answered. */
  begin(asked?: Asked): ReturnType<typeof request>;
  /** POSTs without a body under these keys, sent in one piece over a connection of their own; the
   *  statuses of their answers. */
  pipelined(keys: readonly string[]): Promise<number[]>;
  /** A connection of its own, for what no client sends. */
  dial(): Promise<Socket>;
}

export interface Asked {
  readonly method?: string;
  readonly path?: string;
  readonly key?: string;
  readonly headers?: Readonly<Record<string, string | readonly string[]>>;
  readonly body?: string | Uint8Array;
  /** A connection of its own. */
  readonly alone?: boolean;
}

export interface Answered {
  readonly status: number;
  readonly reason: string;
  readonly headers: IncomingMessage["headers"];
  readonly lines: string[];
  readonly body: Buffer;
  readonly text: string;
  readonly trailers: IncomingMessage["trailers"];
  readonly replayed: boolean;
  /** The code of a refusal. */
  readonly code: string | undefined;
}

export function listen(t: TestContext, listener: RequestListener): Promise<Loopback> {
  return serve(t, createServer(listener));
}

/** With a server of a framework, that may listen already. */
export async function serve(t: TestContext, server: Server): Promise<Loopback> {
  if (!server.listening) await once(server.listen(0, "127.0.0.1"), "listening");
  const { port } = server.address() as AddressInfo;
  const agent = new Agent({ keepAlive: true, maxSockets: 1 });
  const sockets = new Set<Socket>();
  t.after(() => {
    agent.destroy();
    for (const socket of sockets) socket.destroy();
    server.closeAllConnections();
    server.close();
  });
  const begin = ({ method = "POST", path = "/", key, headers = {}, body, alone }: Asked = {}) => {
    const sent = request({
      host: "127.0.0.1",
      port,
      method,
      path,
      agent: alone ? false : agent,
      headers: {
        ...(key === undefined ? {} : { "idempotency-key": key }),
        ...(body === undefined ? {} : { "content-length": String(Buffer.byteLength(body)) }),
        ...(headers as Record<string, string>),
      },
    });
    return body === undefined ? sent.end() : sent.end(body);
  };
  const dial = async () => {
    const socket = connect(port, "127.0.0.1");
    sockets.add(socket);
    await once(socket, "connect");
    return socket;
  };
  return {
    server,
    port,
    begin,
    dial,
    ask: (asked) => answer(begin(asked)),
    async pipelined(keys) {
      const socket = await dial();
      const heads = keys.map((key, at) => {
        const last = at === keys.length - 1;
        return `POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 0\r\n${last ? "connection: close\r\n" : ""}idempotency-key: ${key}\r\n\r\n`;
      });
      socket.write(heads.join(""));
      let text = "";
      for await (const piece of socket) text += piece;
      return Array.from(text.matchAll(/^HTTP\/1.1 (\d+)/gm), ([, status]) => Number(status));
    },
  };
}

/** The whole answer to what was sent. Rejects where it breaks off. */
export async function answer(sent: ReturnType<typeof request>): Promise<Answered> {
  const [message] = (await once(sent, "response")) as [IncomingMessage];
  const pieces: Buffer[] = [];
  for await (const piece of message) pieces.push(piece as Buffer);
  const body = Buffer.concat(pieces);
  const { statusCode = 0, statusMessage = "", headers, rawHeaders: lines, trailers } = message;
  const replayed = headers["idempotent-replayed"] === "true";
  let code: string | undefined;
  try {
    code = (JSON.parse(body.toString()) as { code?: string }).code;
  } catch {
    // It is none of ours.
  }
  return { status: statusCode, reason: statusMessage, headers, lines, body, text: body.toString(), trailers, replayed, code };
}

/** Somebody can wait until it happens. */
export interface Signal<T = void> {
  readonly happened: Promise<T>;
  happen(value: T): void;
}

export function signal<T = void>(): Signal<T> {
  let happen!: (value: T) => void;
  const happened = new Promise<T>((resolve) => (happen = resolve));
  return { happened, happen };
}
