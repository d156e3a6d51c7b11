/**
 * {@link Problem}: what the service answers when it does not do what it was asked, in the shape that
 * the idempotency layer uses too: `{"code", "message", "requestId", "details"}`.
 */
import type { ErrorRequestHandler, RequestHandler } from "express";
import { requestIdOf } from "./request-id.js";

/** A refusal on its way to the client. A handler throws it; {@link tell} answers. */
export class Problem extends Error {
  readonly details: Record<string, unknown> = {};
  readonly headers: Record<string, string> = { "Cache-Control": "no-store" };

  /** With a code for programs and a message for people. */
  constructor(
    readonly status: number,
    readonly code: string,
    message: string,
  ) {
    super(message);
  }

  /** The request is not one that can be understood: 400. */
  static invalid(message: string): Problem {
    return new Problem(400, "INVALID_REQUEST", message);
  }

  /** There is nothing of this name: 404. */
  static notFound(what: string): Problem {
    return new Problem(404, "NOT_FOUND", `There is no such ${what}.`);
  }

  /** It is not known who is asking: 401 (RFC 9110, section 15.5.2). */
  static unauthenticated(): Problem {
    const problem = new Problem(401, "UNAUTHENTICATED", "Send `Authorization: Bearer USER`.");
    return problem.header("WWW-Authenticate", "Bearer");
  }

  /** Something in here broke: 500. The client is told no more than that. */
  static broken(): Problem {
    return new Problem(500, "INTERNAL", "This cannot be done just now. Ask again.");
  }

  detail(name: string, value: unknown): this {
    this.details[name] = value;
    return this;
  }

  header(name: string, value: string): this {
    this.headers[name] = value;
    return this;
  }

  /** When asking again may help (RFC 9110, section 10.2.3). */
  retryAfter(seconds: number): this {
    return this.header("Retry-After", String(seconds));
  }
}

/** Answers what a handler threw. What is no {@link Problem} is told to the log, and not to the client. */
export const tell: ErrorRequestHandler = (error: unknown, request, response, next) => {
  const problem = told(error) ?? Problem.broken();
  if (problem.status >= 500) console.error(`express-video-tasks: ${request.method} failed: ${String(error)}`);
  // Express cuts the connection, so that nobody takes half an answer for a whole one.
  if (response.headersSent) return next(error);
  const { status, code, message, details, headers } = problem;
  response.status(status).set(headers).json({ code, message, requestId: requestIdOf(response), details });
};

function told(error: unknown): Problem | undefined {
  if (error instanceof Problem) return error;
  // A path with a broken escape, as `/%zz`: Express says so with a status of its own.
  const { status } = error as { status?: number };
  return status === 400 ? Problem.invalid("The request cannot be read.") : undefined;
}

/** For a path that the service does not have. */
export const noSuchPath: RequestHandler = () => {
  throw Problem.notFound("path");
};

/** For a method that the path does not have (RFC 9110, section 15.5.6). */
export function onlyMethods(allow: string): RequestHandler {
  return () => {
    const message = "This path does not know that method, see `Allow`.";
    throw new Problem(405, "METHOD_NOT_ALLOWED", message).header("Allow", allow);
  };
}
