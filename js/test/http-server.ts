import { serve } from "@hono/node-server";
import { request, type IncomingHttpHeaders } from "node:http";
import type { AddressInfo } from "node:net";
import type { TestContext } from "node:test";

/** Any handler of requests behind real HTTP, on a free port of this machine until the test is over. */
export async function listening(t: TestContext, fetch: (request: Request) => unknown): Promise<Served> {
  const server = serve({ fetch: fetch as (request: Request) => Response, port: 0, hostname: "127.0.0.1" });
  await new Promise((resolve) => server.once("listening", resolve));
  t.after(() => new Promise((closed) => server.close(closed)));
  return { port: (server.address() as AddressInfo).port };
}

export interface Served {
  readonly port: number;
}

/** What came back over the wire. */
export interface Received {
  readonly status: number;
  readonly headers: IncomingHttpHeaders;
  /** Names as they came, and values, alternating. */
  readonly rawHeaders: readonly string[];
  readonly body: Buffer;
}

/** Posts over a connection of its own. */
export function posted({ port }: Served, headers: Record<string, string>, body: Uint8Array | string = "{}"): Promise<Received> {
  return new Promise((resolve, reject) => {
    const asked = request({ port, host: "127.0.0.1", method: "POST", path: "/tasks", headers, agent: false }, (answer) => {
      const pieces: Buffer[] = [];
      answer.on("data", (piece: Buffer) => pieces.push(piece));
      answer.on("error", reject);
      answer.on("end", () =>
        resolve({ status: answer.statusCode!, headers: answer.headers, rawHeaders: answer.rawHeaders, body: Buffer.concat(pieces) }),
      );
    });
    asked.on("error", reject);
    asked.end(body);
  });
}

/** Begins to post, and gives what breaks the connection off. */
export function begun({ port }: Served, headers: Record<string, string>, body = "{}"): { leave(): Promise<void> } {
  const asked = request({ port, host: "127.0.0.1", method: "POST", path: "/tasks", headers, agent: false });
  const over = new Promise<void>((resolve) => asked.once("close", resolve));
  asked.on("error", () => undefined);
  asked.end(body);
  return {
    leave() {
      asked.destroy();
      return over;
    },
  };
}
