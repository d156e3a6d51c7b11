/** Every request has an id, and every answer says which one it answers. */
import { randomBytes } from "node:crypto";
import type { RequestHandler, Response } from "express";

/** Where the id travels. */
export const X_REQUEST_ID = "x-request-id";

/**
 * Adopts the id that came with the request, or makes one; hands it on as a header of the request, where
 * the idempotency layer finds it, and puts it on the answer.
 *
 * It stands outside of that layer, so a replay carries the id of the request that it answers, never
 * that of the first.
 */
export const named: RequestHandler = (request, response, next) => {
  const came = request.headersDistinct[X_REQUEST_ID];
  const adopted = came?.length === 1 && ADOPTABLE.test(came[0] as string) ? came[0] : undefined;
  const id = adopted ?? `req_${randomBytes(4).toString("hex")}`;
  request.headers[X_REQUEST_ID] = id;
  response.setHeader(X_REQUEST_ID, id);
  next();
};

/** The id of the request that this answers. */
export function requestIdOf(response: Response): string {
  return String(response.getHeader(X_REQUEST_ID));
}

/** Visible ASCII, and not much of it: it goes into logs. */
const ADOPTABLE = /^[!-~]{1,128}$/;
