import { Pieces, type Target, type Unread } from "../gate/index.js";

/** The values of the key's header; several header lines are one value here, which names no key. */
export function keysOf({ headers }: Request): readonly string[] {
  const value = headers.get("idempotency-key");
  return value === null ? [] : [value];
}

export function requestIdOf({ headers }: Request): string | undefined {
  return headers.get("x-request-id") ?? undefined;
}

export function targetOf({ method, url, headers }: Request): Target {
  const end = url.indexOf("#");
  const whole = end < 0 ? url : url.slice(0, end);
  const path = whole.indexOf("/", whole.indexOf("://") + 3);
  const query = whole.indexOf("?", path);
  return {
    method,
    path: whole.slice(path, query < 0 ? undefined : query),
    query: query < 0 ? undefined : whole.slice(query + 1),
    contentType: headers.get("content-type") ?? undefined,
  };
}

/** The body, of at most `limit` bytes, whatever length its sender gave. */
export async function bodyOf(request: Request, limit: number): Promise<Uint8Array | Unread> {
  if (Number(request.headers.get("content-length")) > limit) return "too-large";
  const { body } = request;
  const pieces = new Pieces();
  if (!body) return pieces.bytes();
  if (request.bodyUsed || body.locked) return "consumed";
  const reader = body.getReader();
  for (;;) {
    const { done, value } = await reader.read();
    if (done) return pieces.bytes();
    pieces.push(value);
    if (pieces.length > limit) {
      reader.cancel().catch(() => undefined);
      return "too-large";
    }
  }
}

/**
 * The request once more, with the body that was read of it. Its signal never aborts: what the handler
 * does for a client that is gone is what the retry gets.
 */
export function renewed(request: Request, body: Uint8Array): Request {
  const { url, method, headers, redirect } = request;
  const sent = request.body === null ? {} : { body: body as Uint8Array<ArrayBuffer> };
  // What Cloudflare's workers know of a client.
  const known = "cf" in request ? { cf: request.cf } : {};
  const init: RequestInit = { method, headers, redirect, ...sent, ...known };
  const made = constructed(request, url, init);
  // What a router or an authentication has put there.
  for (const name of Object.keys(request)) {
    if (!(name in made)) Object.defineProperty(made, name, Object.getOwnPropertyDescriptor(request, name)!);
  }
  return made;
}

/** Of the same class, where that is made like its parent: Next.js has one of its own. */
function constructed(request: Request, url: string, init: RequestInit): Request {
  const Kind = request.constructor as typeof Request;
  if (Kind !== Request) {
    try {
      const made = new Kind(url, init);
      if (made instanceof Request) return made;
    } catch {
      // It is made in another way.
    }
  }
  return new Request(url, init);
}
