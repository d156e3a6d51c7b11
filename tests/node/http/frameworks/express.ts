import { once } from "node:events";
import type { IncomingMessage } from "node:http";
import { Readable } from "node:stream";
import { buffer } from "node:stream/consumers";
import { pipeline } from "node:stream/promises";
import express, { type NextFunction, type Request, type Response } from "express";
// @ts-expect-error It has the types of the other.
import expressOf4 from "express4";
import { idempotent } from "idemp/express";
import { withErrorHandler, type Asking, type Framework, type Service } from "../service.js";

export const express5 = served("express 5", express);
export const express4 = served("express 4", expressOf4 as unknown as typeof express);

function served(name: string, create: typeof express): Framework {
  return {
    name,
    async serve(service) {
      const app = create();
      app.disable("x-powered-by");
      app.disable("etag");
      app.use((_req: Request, res: Response, next: NextFunction) => {
        for (const [name, value] of service.outer) res.setHeader(name, value);
        next();
      });
      const handler = handlerOf(service);
      for (const [path, route] of service.routes) {
        const handlers = route ? [idempotent(service.idem, service.optionsOf(withErrorHandler(route), askingOf)), handler] : [handler];
        if (path === "*") app.use(...handlers);
        else app.all(path, ...handlers);
      }
      app.use((error: unknown, _req: Request, res: Response, next: NextFunction) => {
        if (res.headersSent) next(error);
        else res.status(500).end();
      });
      const server = app.listen(0, "127.0.0.1");
      await once(server, "listening");
      return server;
    },
  };
}

function askingOf(req: Request): Asking {
  return { user: req.get("x-user"), tenant: req.get("x-tenant"), method: req.method, path: req.path };
}

function handlerOf(service: Service) {
  // Express 4 knows no promises.
  return (req: Request, res: Response, next: NextFunction) => void answer(req, res).catch(next);

  async function answer(req: Request, res: Response): Promise<void> {
    const body = await buffer(req as IncomingMessage);
    const { method, originalUrl: target, idempotency: execution } = req;
    const reply = await service.handle({ method, target, header: (name) => req.get(name), body, execution });
    res.status(reply.status);
    // `append` would add a charset.
    for (const [name, value] of reply.headers) res.appendHeader(name, value);
    if (!(reply.body instanceof Uint8Array)) return pipeline(Readable.from(reply.body), res);
    // `send` would make up a content type.
    if (res.get("content-type") === undefined) res.end(reply.body);
    else res.send(reply.body);
  }
}
