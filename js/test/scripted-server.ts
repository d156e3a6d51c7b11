import { createServer, type IncomingHttpHeaders, type IncomingMessage, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";

/** A request that came. */
export interface Came {
  readonly method: string;
  readonly url: string;
  readonly headers: IncomingHttpHeaders;
  readonly body: Buffer;
}

/** What the server does about one request: an answer, or something worse. */
export type Act =
  | { status: number; headers?: Record<string, string>; body?: string | Buffer }
  /** Takes the request, and breaks the connection instead of an answer. */
  | "drop"
  /** Breaks the connection in the middle of the body. */
  | "cut"
  /** The same, of a 409. */
  | "cut-409"
  /** Never answers. */
  | "hang";

/** A server that does what it is told, one act a request, and answers 200 when it has no more. */
export async function scriptedServer(...acts: Act[]) {
  const came: Came[] = [];
  const waiting: (() => void)[] = [];
  const server = createServer((request, response) => void play(request, response));
  async function play(request: IncomingMessage, response: ServerResponse) {
    const chunks: Buffer[] = [];
    for await (const chunk of request) chunks.push(chunk as Buffer);
    const { method = "", url = "", headers } = request;
    came.push({ method, url, headers, body: Buffer.concat(chunks) });
    for (const seen of waiting.splice(0)) seen();
    const act = acts.shift() ?? { status: 200, body: "ok" };
    if (act === "hang") return;
    if (act === "drop") return void request.socket.destroy();
    if (act === "cut" || act === "cut-409") {
      response.writeHead(act === "cut" ? 200 : 409, { "content-length": "100" });
      return void response.write("half", () => request.socket.destroy());
    }
    response.writeHead(act.status, act.headers ?? {}).end(act.body);
  }
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const { port } = server.address() as AddressInfo;
  return {
    url: `http://127.0.0.1:${port}/`,
    came,
    /** The next request has come. */
    next: () => new Promise<void>((resolve) => waiting.push(resolve)),
    close: () =>
      new Promise<void>((resolve) => {
        server.close(() => resolve());
        server.closeAllConnections();
      }),
  };
}

/** An answer with a JSON body. */
export const json = (status: number, value: unknown, headers: Record<string, string> = {}): Act => ({
  status,
  headers: { "content-type": "application/json", ...headers },
  body: JSON.stringify(value),
});
