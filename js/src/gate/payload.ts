import { fingerprintRequest } from "../core/http.js";
import type { Fingerprint } from "../core/fingerprint.js";

/** What a request asks for, as it came. */
export interface Target {
  readonly method: string;
  readonly path: string;
  /** Without the question mark; empty is not the same as none. */
  readonly query: string | undefined;
  /** In Latin-1. */
  readonly contentType: string | undefined;
}

/** Of the method, the path, the query with its parameters sorted by name, the content type and the body:
 *  by its canonical form where the content type says JSON, else by its bytes. */
export function fingerprintOfRequest(target: Target, body: Uint8Array): Fingerprint {
  const { contentType } = target;
  // What is no text counts by its bytes.
  const isText = contentType !== undefined && /^[\t\x20-\x7e]*$/.test(contentType);
  return fingerprintRequest(
    {
      method: target.method,
      path: target.path,
      query: target.query,
      contentType: isText ? contentType : undefined,
      headers: isText || contentType === undefined ? undefined : [["content-type", contentType]],
      raw: contentType === undefined || !isJson(contentType),
    },
    body,
  );
}

/** `application/json`, or a media type with the suffix `+json` (RFC 6839, section 3.1). */
export function isJson(contentType: string): boolean {
  const type = essence(contentType);
  return type === "application/json" || type.endsWith("+json");
}

/** `text/event-stream`: a stream from its head on. */
export function isEventStream(contentType: string): boolean {
  return essence(contentType) === "text/event-stream";
}

/** The media type without its parameters, in lower case. */
function essence(contentType: string): string {
  const end = contentType.indexOf(";");
  const type = end < 0 ? contentType : contentType.slice(0, end);
  if (type === "application/json") return type;
  return type.replace(/^[\t\n\f\r ]+|[\t\n\f\r ]+$/g, "").toLowerCase();
}
