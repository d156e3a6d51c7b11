import { NOTHING } from "../core/bytes.js";
import { LATE, Pieces, within, type Answer, type Gate, type Owner } from "../gate/index.js";

/** The answer with these headers, which are its own and what stands around them. */
export function responseOf({ status, headers, body }: Answer, around = new Headers()): Response {
  for (const [name] of headers) around.delete(name);
  for (const [name, value] of headers) around.append(name, value);
  const none = NULL_BODY.includes(status);
  return new Response(none ? null : (body as Uint8Array<ArrayBuffer>), { status, headers: around });
}

/** Statuses that a `Response` has no body for. */
const NULL_BODY = [101, 204, 205, 304];

/** Settles the owner by the response, and then tells what to send: the own response, or another. */
export async function concluded(
  gate: Gate<never>,
  owner: Owner,
  response: Response,
): Promise<{ readonly own: Response } | { readonly instead: Answer }> {
  const { status } = response;
  const contentType = response.headers.get("content-type") ?? undefined;
  let collecting: Collected = { own: response };
  if (owner.remembers(status, contentType)) {
    try {
      collecting = await collected(response, gate.responseLimit, gate.streamAfter);
    } catch (error) {
      // It is no response of this runtime, and nobody can send it. What it stands for was done.
      await owner.settle({ type: "unstorable", status });
      throw error;
    }
  }
  const { own, bytes } = collecting;
  const instead = await owner.settle(
    bytes ? { type: "response", status, headers: [...own.headers], body: bytes } : { type: "unstorable", status },
  );
  if (!instead) return { own };
  own.body?.cancel().catch(() => undefined);
  return { instead };
}

/** A response to send and, where it is there as a whole, what its body is. */
interface Collected {
  readonly own: Response;
  readonly bytes?: Uint8Array;
}

/** Reads a body of at most `limit` bytes; one whose length is not stated, for at most so many
 *  milliseconds. */
async function collected(response: Response, limit: number, patience: number): Promise<Collected> {
  const { body, headers } = response;
  if (!body) return { own: response, bytes: NOTHING };
  const stated = headers.get("content-length");
  // Who sent it has read it, and it will fail as it would have failed.
  if (response.bodyUsed || body.locked || Number(stated) > limit) return { own: response };
  const until = stated === null ? performance.now() + patience : Infinity;
  const reader = body.getReader();
  const pieces = new Pieces();
  const begun = (next?: Read): Collected => ({ own: again(response, goneOn(pieces, reader, next)) });
  for (;;) {
    const next = reader.read();
    let read: Awaited<Read> | typeof LATE;
    try {
      read = await (stated === null ? within(Math.max(0, until - performance.now()), next) : next);
    } catch {
      return begun(next);
    }
    if (read === LATE) return begun(next);
    if (read.done) {
      const bytes = pieces.bytes();
      // Copied now: who has sent the bytes may use them for something else.
      const own = again(response, bytes as Uint8Array<ArrayBuffer>);
      // It is cut short, or more than it says. An encoded one may have been decoded since its length was told.
      const whole = stated === null || headers.has("content-encoding") || Number(stated) === bytes.length;
      return whole ? { own, bytes } : { own };
    }
    // What is no piece of bytes is for the runtime to judge.
    if (!ArrayBuffer.isView(read.value)) return begun(next);
    pieces.push(read.value);
    if (pieces.length > limit) return begun();
  }
}

type Reader = ReadableStreamDefaultReader<Uint8Array<ArrayBuffer>>;
type Read = ReturnType<Reader["read"]>;

/** What was read of a body, then what was being read, then the rest as it comes. */
function goneOn(pieces: Pieces, reader: Reader, next?: Read): ReadableStream<Uint8Array<ArrayBuffer>> {
  // Its error is told when it is its turn.
  next?.catch(() => undefined);
  let begun = pieces.length > 0 ? (pieces.bytes() as Uint8Array<ArrayBuffer>) : undefined;
  return new ReadableStream(
    {
      async pull(controller) {
        if (begun) {
          controller.enqueue(begun);
          begun = undefined;
          return;
        }
        const { done, value } = await (next ?? reader.read());
        next = undefined;
        if (done) controller.close();
        else controller.enqueue(value);
      },
      cancel: (reason) => reader.cancel(reason),
    },
    { highWaterMark: 0 },
  );
}

function again({ status, statusText, headers }: Response, body: BodyInit): Response {
  return new Response(body, { status, statusText, headers });
}
