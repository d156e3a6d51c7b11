/** A gate, without a framework, and requests that go through it. */
import "../src/core/server.js";
import { latin1 } from "../src/core/bytes.js";
import { Gate, type Answer, type GateOptions, type Outcome, type Owner, type Unread } from "../src/gate/index.js";
import { createIdempotency, type IdempotencyOptions } from "../src/idempotency.js";
import { switchedStore } from "./switched-store.js";

export const fromLatin1 = (text: string) => Uint8Array.from(text, (letter) => letter.charCodeAt(0));

export const SOON = 40;

export interface Asked {
  user?: string;
  method?: string;
  keys?: string[];
  id?: string;
  path?: string;
  query?: string;
  contentType?: string;
  body?: string | Unread;
}

/** A gate on a store that can be switched, and what went through it. */
export function rig(options: Partial<GateOptions<Asked>> = {}, more: Partial<IdempotencyOptions> = {}) {
  const store = switchedStore();
  const idem = createIdempotency({ store, ...more });
  const errors: unknown[] = [];
  const own = { scope: ({ user = "ada" }: Asked) => [user], onError: (error: unknown) => errors.push(error) };
  const gate = new Gate<Asked>(idem, { ...own, ...options } as GateOptions<Asked>);
  let runs = 0;

  /** The way of a request through a middleware. */
  async function ask(asked: Asked = {}, handler: (owner: Owner, run: number) => Outcome | Promise<Outcome> = created) {
    const { method = "POST", keys = ["k"], id, path = "/tasks", query, contentType = "application/json", body = "{}" } = asked;
    const entered = gate.enter(method, keys, id);
    if (entered.type === "pass") return { through: "pass" as const };
    if (entered.type === "answer") return seen(entered.answer);
    const bytes = async () => (["too-large", "broken", "consumed"].includes(body) ? (body as Unread) : fromLatin1(body));
    const admitted = await gate.admit(entered.entry, asked, { method, path, query, contentType }, bytes);
    if (admitted.type === "open") return { through: "open" as const, run: ++runs };
    if (admitted.type === "answer") return seen(admitted.answer);
    if (admitted.owner.isOver()) {
      await admitted.owner.leave();
      return seen(admitted.owner.comeAgain());
    }
    const outcome = await handler(admitted.owner, ++runs);
    const instead = await admitted.owner.settle(outcome);
    return instead ? seen(instead) : { through: "handler" as const, outcome };
  }

  return { store, idem, gate, errors, ask, runs: () => runs };
}

export function created(_: Owner, run: number): Outcome {
  const headers = [["Content-Type", "text/plain"], ["Set-Cookie", "sid=secret"], ["Link", "</a>"], ["link", "</b>"]] as const;
  return { type: "response", status: 201, headers, body: fromLatin1(`run ${run}`) };
}

export function seen({ status, headers, body }: Answer) {
  const text = latin1(body);
  const header = (name: string) => headers.filter(([named]) => named === name).map(([, value]) => value);
  const json = text.startsWith("{") ? JSON.parse(text) : undefined;
  return { through: "answer" as const, status, headers, header, text, json, code: json?.code as string | undefined };
}

export type Seen = ReturnType<typeof seen>;

/** Keeps the process alive meanwhile: a keep-alive does not. */
export async function awake<T>(promise: Promise<T>): Promise<T> {
  const timer = setInterval(() => undefined, 1000);
  return promise.finally(() => clearInterval(timer));
}

export const isReplay = (answer: { through: string }) =>
  answer.through === "answer" && (answer as Seen).header("idempotent-replayed")[0] === "true";
export const codeOf = (answer: { through: string }) => (answer as Seen).code;
