import { fromBase64, toBase64 } from "../base64.js";
import { RefusedError } from "./errors.js";

/** A successful answer, as it is remembered: it has a JSON form. */
export interface Remembered {
  readonly status: number;
  readonly statusText: string;
  readonly headers: [string, string][];
  /** In base64. */
  readonly body: string;
}

/** The longest body that is remembered, in bytes. */
export const LONGEST_BODY = 1024 * 1024;

/** Takes an answer down, and leaves its body unread; `undefined` where it is too long. */
export async function remembered(response: Response): Promise<Remembered | undefined> {
  if (Number(response.headers.get("content-length")) > LONGEST_BODY) return undefined;
  const bytes = new Uint8Array(await response.clone().arrayBuffer());
  if (bytes.length > LONGEST_BODY) return undefined;
  const { status, statusText } = response;
  return { status, statusText, headers: [...response.headers], body: toBase64(bytes) };
}

/** The answer, anew. Its `url` is empty, since no server gave it. */
export function rebuilt({ body, ...init }: Remembered): Response {
  const bytes = fromBase64(body);
  return new Response(bytes.length > 0 ? bytes : null, init);
}

/** An answer that is handed on, and not remembered. */
export class Unremembered extends RefusedError {
  constructor(
    readonly response: Response,
    /** Whether the key is kept. */
    kept: boolean,
  ) {
    super("REFUSED", kept);
  }
}
