import { once } from "node:events";
import { createServer, type IncomingMessage, type ServerResponse } from "node:http";
import { Readable } from "node:stream";
import { pipeline } from "node:stream/promises";
import { executionOf, idempotent } from "idemp/web";
import type { Asking, Framework, Reply, Service } from "../service.js";

type Handler = (request: Request) => Promise<Response>;

/** On as little of a server as there can be. */
export const web: Framework = {
  name: "web",
  joins: true,
  async serve(service) {
    const handler = (request: Request) => answer(service, request);
    const routes = new Map<string, Handler>();
    for (const [path, route] of service.routes) {
      routes.set(path, route ? idempotent(service.idem, service.optionsOf(route, askingOf))(handler) : handler);
    }
    const server = createServer((req, res) => {
      const request = requestOf(req, res);
      const route = routes.get(new URL(request.url).pathname) ?? routes.get("*");
      const answered = route ? route(request) : Promise.resolve(new Response(null, { status: 404 }));
      answered
        .catch(() => new Response(null, { status: 500 }))
        .then((response) => written(response, res, service))
        // What broke off is told by the connection.
        .catch(() => res.destroy());
    });
    server.listen(0, "127.0.0.1");
    await once(server, "listening");
    return server;
  },
};

/** The path and the query, as they were sent. */
export function targetOf({ url }: Request): string {
  const { pathname, search } = new URL(url);
  return pathname + search;
}

/** What a `Response` takes. */
export function bodyOf(status: number, body: Reply["body"]): BodyInit | null {
  if (status === 204 || status === 304) return null;
  return body instanceof Uint8Array ? new Uint8Array(body) : (Readable.toWeb(Readable.from(body)) as BodyInit);
}

function askingOf(request: Request): Asking {
  const header = (name: string) => request.headers.get(name) ?? undefined;
  return { user: header("x-user"), tenant: header("x-tenant"), method: request.method, path: new URL(request.url).pathname };
}

async function answer(service: Service, request: Request): Promise<Response> {
  const header = (name: string) => request.headers.get(name) ?? undefined;
  const body = new Uint8Array(await request.arrayBuffer());
  const { method } = request;
  const reply = await service.handle({ method, target: targetOf(request), header, body, execution: executionOf(request) });
  const headers = reply.headers.map(([name, value]): [string, string] => [name, value]);
  return new Response(bodyOf(reply.status, reply.body), { status: reply.status, headers });
}

function requestOf(req: IncomingMessage, res: ServerResponse): Request {
  const gone = new AbortController();
  res.on("close", () => gone.abort());
  const headers = new Headers();
  for (let at = 0; at < req.rawHeaders.length; at += 2) {
    headers.append(req.rawHeaders[at] as string, req.rawHeaders[at + 1] as string);
  }
  const { method = "GET" } = req;
  const body = method === "GET" || method === "HEAD" ? null : (Readable.toWeb(req) as ReadableStream);
  return new Request(`http://localhost${req.url}`, { method, headers, body, duplex: "half", signal: gone.signal } as RequestInit);
}

async function written(response: Response, res: ServerResponse, { outer }: Service): Promise<void> {
  res.statusCode = response.status;
  for (const [name, value] of [...response.headers, ...outer]) res.appendHeader(name, value);
  if (response.body) await pipeline(Readable.fromWeb(response.body as never), res);
  else res.end();
}
