/** A TCP proxy that loses replies: what was asked for was done, and who asked does not hear of it. */
import { once } from "node:events";
import { createServer, connect, type AddressInfo, type Socket } from "node:net";
import type { Dice } from "../dice.js";
import { Messages } from "./messages.js";

/** How a reply is lost. */
export const LOSSES = [
  /** Nothing of it comes, and the connection is reset. */
  "reset",
  /** Nothing of it comes, and the connection ends as if all were well. */
  "closed",
  /** Nothing of it comes, ever: the client has to lose patience. */
  "silence",
  /** It breaks off in its head. */
  "half a head",
  /** It breaks off in its body. */
  "half a body",
  /** The connection is reset while the server is at work: nobody is there when it answers. */
  "too early",
] as const;
export type Loss = (typeof LOSSES)[number];

export interface LossyProxy {
  readonly port: number;
  /** Requests that were handed on whole. */
  readonly requests: number;
  /** Replies that came through whole. */
  readonly replies: number;
  readonly lost: Readonly<Record<Loss, number>>;
  close(): Promise<void>;
}

/** Stands before the server at `port` of this machine, and loses so many of 1 replies, in these ways. */
export async function lossyProxy(
  port: number,
  dice: Dice,
  odds: number,
  losses: readonly Loss[],
): Promise<LossyProxy> {
  const lost = Object.fromEntries(LOSSES.map((loss) => [loss, 0])) as Record<Loss, number>;
  const count = { requests: 0, replies: 0 };
  const open = new Set<Socket>();
  const server = createServer({ noDelay: true }, (client) => {
    const upstream = connect({ port, host: "127.0.0.1", noDelay: true });
    const [asked, answered] = [new Messages(), new Messages()];
    let deaf = false;
    let next = draw();
    for (const socket of [client, upstream]) {
      open.add(socket);
      socket.on("error", () => socket.destroy());
      socket.on("close", () => {
        open.delete(socket);
        client.destroy();
        upstream.destroy();
      });
    }

    client.on("data", (chunk) => {
      upstream.write(chunk);
      for (const _ of asked.take(chunk)) {
        count.requests++;
        if (next === "too early") lose("too early", () => setTimeout(() => client.resetAndDestroy(), dice.below(4)));
      }
    });

    upstream.on("data", (chunk) => {
      for (const { bytes, bodyAt } of answered.take(chunk)) {
        const loss = next;
        next = draw();
        if (deaf) continue;
        if (loss === undefined) {
          count.replies++;
          client.write(bytes);
        } else if (loss === "half a head") {
          lose(loss, () => client.end(bytes.subarray(0, 1 + dice.below(bodyAt - 1))));
        } else if (loss === "half a body") {
          lose(loss, () => client.end(bytes.subarray(0, bodyAt + dice.below(bytes.length - bodyAt))));
        } else if (loss === "reset") {
          lose(loss, () => client.resetAndDestroy());
        } else if (loss === "closed") {
          lose(loss, () => client.end());
        } else {
          lose(loss, () => undefined);
        }
      }
    });

    function draw(): Loss | undefined {
      return dice.chance(odds) ? losses[dice.below(losses.length)] : undefined;
    }
    /** After a loss nothing more of this connection comes through. */
    function lose(loss: Loss, how: () => void) {
      if (deaf) return;
      deaf = true;
      lost[loss]++;
      how();
    }
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  return {
    port: (server.address() as AddressInfo).port,
    get requests() {
      return count.requests;
    },
    get replies() {
      return count.replies;
    },
    lost,
    async close() {
      server.close();
      for (const socket of open) socket.destroy();
      await once(server, "close");
    },
  };
}
