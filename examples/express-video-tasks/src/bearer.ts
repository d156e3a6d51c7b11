/** Who is asking. */
import type { Request, RequestHandler } from "express";
import { Problem } from "./problem.js";

declare global {
  namespace Express {
    interface Request {
      /** Set by {@link known}. */
      user?: string;
    }
  }
}

/**
 * Lets nobody in whom it does not know. It stands before the idempotency layer, which takes its scope
 * from {@link userOf}: a replay goes only to whom the first answer went.
 *
 * Here the bearer token is the user's name (RFC 6750, section 2.1); in earnest it would be verified.
 */
export const known: RequestHandler = (request, _response, next) => {
  const values = request.headersDistinct["authorization"];
  const [, name] = /^bearer ([A-Za-z0-9._-]{1,64})$/i.exec(values?.[0] ?? "") ?? [];
  if (name === undefined || values?.length !== 1) throw Problem.unauthenticated();
  request.user = name;
  next();
};

/** The user whom {@link known} let in. */
export function userOf({ user }: Request): string {
  if (user === undefined) throw Problem.unauthenticated();
  return user;
}
