import type { IncomingMessage, ServerResponse } from "node:http";

/** An order that was executed. */
export interface Execution {
  readonly key: string;
  readonly user: string;
  readonly body: unknown;
}

/** A service that takes orders, each key once, in memory: what a page has to do with. */
export interface Orders {
  readonly handle: (request: IncomingMessage, response: ServerResponse) => Promise<void>;
  /** What was executed, in order. */
  readonly executions: Execution[];
  /** The key of every request that came, executed or not. */
  readonly requests: string[];
  /** Executions wait from here on, until {@link open}. */
  shut(): void;
  open(): void;
  /** Ends when a request with this number, counted from 1, has come. */
  came(count: number): Promise<void>;
  /** What the next request is answered with, instead of being executed. */
  refuseNext(status: number, body: unknown): void;
}

export function orders(): Orders {
  const executions: Execution[] = [];
  const requests: string[] = [];
  const outcomes = new Map<string, { id?: number }>();
  const seen: [number, () => void][] = [];
  const refusals: { status: number; body: unknown }[] = [];
  let gate = Promise.resolve();
  let open = () => {};

  return {
    executions,
    requests,
    shut: () => void (gate = new Promise((resolve) => (open = resolve))),
    open: () => open(),
    refuseNext: (status, body) => void refusals.push({ status, body }),
    came: (count) =>
      new Promise((resolve) => {
        if (requests.length >= count) resolve();
        else seen.push([count, resolve]);
      }),
    async handle(request, response) {
      const chunks: Buffer[] = [];
      for await (const chunk of request) chunks.push(chunk as Buffer);
      const key = String(request.headers["idempotency-key"]);
      requests.push(key);
      for (const [count, resolve] of seen) if (requests.length >= count) resolve();
      const answer = (status: number, value: unknown, headers = {}) =>
        response
          .writeHead(status, { "content-type": "application/json", ...headers })
          .end(JSON.stringify(value));
      const refusal = refusals.shift();
      if (refusal) return void answer(refusal.status, refusal.body);
      const earlier = outcomes.get(key);
      if (earlier && earlier.id === undefined) {
        return void answer(409, { code: "IDEMPOTENCY_IN_PROGRESS" }, { "retry-after": "1" });
      }
      if (earlier) return void answer(201, { id: earlier.id }, { "idempotent-replayed": "true" });
      const outcome: { id?: number } = {};
      outcomes.set(key, outcome);
      const body: unknown = JSON.parse(Buffer.concat(chunks).toString() || "null");
      executions.push({ key, user: String(request.headers["x-user"]), body });
      const id = executions.length;
      await gate;
      outcome.id = id;
      answer(201, { id });
    },
  };
}
