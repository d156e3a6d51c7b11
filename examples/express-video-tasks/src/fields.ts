/**
 * {@link Fields}: reads the body of a request strictly. A mistake is told by the name of its field, and
 * a field that is not known is one: it may be a misspelt one that matters.
 */
import express, { type NextFunction, type Request, type RequestHandler, type Response } from "express";
import { Problem } from "./problem.js";

/** The longest body that is read, in bytes. */
export const BODY_LIMIT = 16 * 1024;

/** The members of a JSON object that were not asked for yet. */
export class Fields {
  private constructor(private readonly members: Map<string, unknown>) {}

  /** @throws Problem where the body is no JSON object. */
  static of(body: unknown): Fields {
    try {
      // A byte order mark and bytes that are not UTF-8 are no JSON (RFC 8259, section 8.1).
      const text = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(body as Uint8Array);
      const value: unknown = JSON.parse(text);
      if (typeof value === "object" && value !== null && !Array.isArray(value)) {
        return new Fields(new Map(Object.entries(value)));
      }
    } catch {
      // It is told below.
    }
    throw Problem.invalid("The body is not a JSON object.");
  }

  /** A text with so many characters and no control character. @throws Problem */
  text(name: string, least: number, most: number): string {
    const found = this.take(name);
    if (typeof found === "string" && !/[\p{Cc}\p{Cs}]/u.test(found)) {
      const length = [...found].length;
      if (least <= length && length <= most) return found;
    }
    throw mistake(name, found, `a text of ${least} to ${most} characters, none a control character`);
  }

  /** A whole number in this range, both ends included. @throws Problem */
  whole(name: string, least: number, most: number): number {
    const found = this.take(name);
    if (Number.isInteger(found) && least <= (found as number) && (found as number) <= most) return found as number;
    throw mistake(name, found, `a whole number from ${least} to ${most}`);
  }

  /** One of these texts, the first where the field is missing. @throws Problem */
  choice<T extends string>(name: string, of: readonly [T, ...T[]]): T {
    const found = this.members.has(name) ? this.take(name) : of[0];
    const choice = of.find((choice) => choice === found);
    if (choice !== undefined) return choice;
    throw mistake(name, found, `one of ${of.join(", ")}`);
  }

  /** There is nothing else. @throws Problem where there is. */
  end(): void {
    const { size } = this.members;
    if (size > 0) throw Problem.invalid(`The body has ${size} fields that are not known here.`);
  }

  private take(name: string): unknown {
    const found = this.members.get(name);
    this.members.delete(name);
    return found;
  }
}

/** Reads the body for {@link Fields.of}, as bytes, into `request.body`. */
export const body: readonly RequestHandler[] = [
  (request, _response, next) => {
    const [essence = ""] = (request.headers["content-type"] ?? "").split(";");
    if (essence.trim().toLowerCase() === "application/json") return next();
    const message = "Send the body as `Content-Type: application/json`.";
    throw new Problem(415, "UNSUPPORTED_MEDIA_TYPE", message);
  },
  express.raw({ type: () => true, limit: BODY_LIMIT, inflate: false }),
];

/** Stands behind {@link body}: what it could not read is told like everything else. */
export function unread(error: unknown, _request: Request, _response: Response, next: NextFunction): void {
  const { type } = error as { type?: string };
  if (type === "entity.too.large") {
    const message = `The body is longer than ${BODY_LIMIT} bytes.`;
    return next(new Problem(413, "BODY_TOO_LARGE", message));
  }
  const broken = type === "request.aborted" || type === "request.size.invalid" || type === "encoding.unsupported";
  next(broken ? Problem.invalid("The body did not arrive whole.") : error);
}

function mistake(name: string, found: unknown, expected: string): Problem {
  const wrong = found === undefined ? "is missing" : "is not right";
  return Problem.invalid(`The field \`${name}\` ${wrong}.`).detail("field", name).detail("expected", expected);
}
