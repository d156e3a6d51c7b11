import { orders } from "../js/orders.js";

/** A request as a middleware has it: the body's bytes, and what a body parser made of them. */
export interface Request {
  readonly key: string;
  readonly raw: Buffer;
  readonly parsed: unknown;
}

/** What the handler answers. */
export type Order = Record<string, unknown>;

/** Somebody who executes a request once, and replays its answer. */
export interface Contender {
  handle(request: Request, execute: () => Order): Promise<unknown>;
}

/** 1 KB of JSON. */
export const BODY = orders(5);

/** Requests under distinct keys, each with a body of its own as it comes from the network. */
export function requests(count: number): Request[] {
  return Array.from({ length: count }, (_, number) => ({
    key: `order-${number.toString().padStart(8, "0")}-2fc6dfe5`,
    raw: Buffer.from(BODY),
    parsed: JSON.parse(BODY) as unknown,
  }));
}

export const ANSWER: Order = {
  taskId: "vt_4e80c173",
  status: "queued",
  createdAt: 1_769_660_861_000,
  file: "final.mp4",
  settings: { width: 1920, height: 1080, codec: "h264" },
};
