import { once } from "node:events";
import type { Server } from "node:http";
import { serve } from "@hono/node-server";
import { Hono, type Context } from "hono";
import { idempotent } from "idemp/hono";
import type { Asking, Framework, Service } from "../service.js";
import { bodyOf, targetOf } from "./web.js";

export const hono: Framework = {
  name: "hono",
  joins: true,
  contentType: "text/plain; charset=UTF-8",
  async serve(service) {
    const app = new Hono({ getPath: (request) => new URL(request.url).pathname });
    app.use(async (c, next) => {
      for (const [name, value] of service.outer) c.header(name, value);
      await next();
    });
    app.onError((_error, c) => c.body(null, 500));
    for (const [path, route] of service.routes) {
      const handler = (c: Context) => answer(service, c);
      if (route) app.all(path, idempotent(service.idem, service.optionsOf(route, askingOf)), handler);
      else app.all(path, handler);
    }
    const server = serve({ fetch: app.fetch, hostname: "127.0.0.1", port: 0 }) as Server;
    await once(server, "listening");
    return server;
  },
};

function askingOf({ req }: Context): Asking {
  return { user: req.header("x-user"), tenant: req.header("x-tenant"), method: req.method, path: req.path };
}

async function answer(service: Service, c: Context): Promise<Response> {
  const { method, raw } = c.req;
  const body = new Uint8Array(await c.req.arrayBuffer());
  const header = (name: string) => c.req.header(name);
  const seen = { method, target: targetOf(raw), header, body, execution: c.get("idempotency") };
  const { status, headers, body: told } = await service.handle(seen);
  for (const [name, value] of headers) c.header(name, value, { append: true });
  return c.newResponse(bodyOf(status, told) as never, status as never);
}
