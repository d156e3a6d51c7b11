import { Readable } from "node:stream";
import Fastify, { type FastifyReply, type FastifyRequest } from "fastify";
import { idempotency } from "idemp/fastify";
import { withErrorHandler, type Asking, type Framework, type Service } from "../service.js";

export const fastify: Framework = {
  name: "fastify",
  async serve(service) {
    const app = Fastify({ bodyLimit: 16 << 20 });
    app.removeAllContentTypeParsers();
    app.addContentTypeParser("*", { parseAs: "buffer" }, (_request, body, done) => done(null, body));
    app.addHook("onRequest", (_request, reply, done) => {
      for (const [name, value] of service.outer) reply.header(name, value);
      done();
    });
    app.setErrorHandler((_error, _request, reply) => reply.code(500).send());
    await app.register(idempotency, { idem: service.idem, unscoped: true });
    for (const [path, route] of service.routes) {
      const own = route ? service.optionsOf(withErrorHandler(route), askingOf) : (false as const);
      app.all(path, { config: { idempotency: own } }, (request, reply) => answer(service, request, reply));
    }
    await app.listen({ host: "127.0.0.1", port: 0 });
    return app.server;
  },
};

function askingOf({ headers, method, url }: FastifyRequest): Asking {
  const user = headers["x-user"] as string | undefined;
  const tenant = headers["x-tenant"] as string | undefined;
  return { user, tenant, method, path: url.split("?")[0] as string };
}

async function answer(service: Service, request: FastifyRequest, reply: FastifyReply): Promise<FastifyReply> {
  const { method, originalUrl: target, headers, idempotency: execution } = request;
  const header = (name: string) => headers[name] as string | undefined;
  const body = (request.body as Buffer | undefined) ?? Buffer.alloc(0);
  const told = await service.handle({ method, target, header, body, execution });
  reply.code(told.status);
  const lines = new Map<string, string[]>();
  for (const [name, value] of told.headers) {
    const of = name.toLowerCase();
    lines.set(of, [...(lines.get(of) ?? []), value]);
  }
  for (const [name, values] of lines) reply.header(name, values.length > 1 ? values : values[0]);
  if (!(told.body instanceof Uint8Array)) return reply.send(Readable.from(told.body));
  if (told.body.length === 0) return reply.send();
  if (lines.has("content-type")) return reply.send(Buffer.from(told.body));
  // `send` would make up a content type.
  reply.hijack();
  reply.raw.writeHead(told.status, Object.fromEntries(lines)).end(told.body);
  return reply;
}
