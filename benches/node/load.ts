/** Requests over connections that stay open, each sent when the one before was answered. */
import { connect, type Socket } from "node:net";

export interface Load {
  readonly port: number;
  readonly connections: number;
  /** Each request as bytes. */
  readonly requests: readonly Buffer[];
  /** What every answer begins with. */
  readonly answer: string;
}

/** Sends all of them, and says how many milliseconds that took. */
export async function send({ port, connections, requests, answer }: Load): Promise<number> {
  const sockets = await Promise.all(Array.from({ length: connections }, () => opened(port)));
  let next = 0;
  const start = performance.now();
  await Promise.all(
    sockets.map(
      (socket) =>
        new Promise<void>((resolve, reject) => {
          let received: Buffer | undefined;
          const goOn = () => {
            const request = requests[next++];
            if (request) socket.write(request);
            else resolve();
          };
          socket.on("error", reject);
          socket.on("close", () => reject(new Error("the server closed a connection")));
          socket.on("data", (bytes) => {
            received = received ? Buffer.concat([received, bytes]) : bytes;
            if (!isWhole(received)) return;
            const begins = received.toString("latin1", 0, answer.length);
            if (begins !== answer) return reject(new Error(`answered with ${begins}`));
            received = undefined;
            goOn();
          });
          goOn();
        }),
    ),
  );
  const took = performance.now() - start;
  for (const socket of sockets) socket.removeAllListeners("close").destroy();
  return took;
}

function opened(port: number): Promise<Socket> {
  return new Promise((resolve, reject) => {
    const socket = connect({ port, host: "127.0.0.1", noDelay: true }, () => resolve(socket));
    socket.once("error", reject);
  });
}

/** Whether an answer with a length, and nothing else, has come. */
function isWhole(bytes: Buffer): boolean {
  const end = bytes.indexOf("\r\n\r\n");
  if (end < 0) return false;
  const length = /\r\ncontent-length: (\d+)/i.exec(bytes.toString("latin1", 0, end))?.[1];
  if (length === undefined) throw new Error("an answer without a length");
  return bytes.length >= end + 4 + Number(length);
}
