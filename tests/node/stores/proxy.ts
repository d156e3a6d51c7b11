/** Between a client and its server: counts, holds, cuts, and lets others in between. */
import { once } from "node:events";
import { type AddressInfo, type Socket, connect, createServer } from "node:net";

export class Proxy {
  /** How often something was sent behind an answer: trips, where one question follows the other. */
  trips = 0;
  /** Answers are kept back, and come when it is let go. */
  private held: (() => void)[] | undefined;
  private cutting = false;
  private readonly sockets = new Set<Socket>();

  private constructor(
    private readonly server: ReturnType<typeof createServer>,
    /** Where it listens. */
    readonly port: number,
  ) {}

  /** A proxy to the server at this address; the address with itself in its place is {@link url}. */
  static async to(url: string): Promise<Proxy> {
    const { hostname, port } = new URL(url);
    const server = createServer();
    server.listen(0, "127.0.0.1");
    await once(server, "listening");
    const proxy = new Proxy(server, (server.address() as AddressInfo).port);
    server.on("connection", (client) => proxy.pass(client, connect(Number(port), hostname)));
    return proxy;
  }

  url(of: string): string {
    const url = new URL(of);
    url.port = String(this.port);
    return url.href;
  }

  /** From now on questions pass and answers wait. */
  hold(): void {
    this.held = [];
  }

  /** What was held goes on its way. */
  letGo(): void {
    const held = this.held ?? [];
    this.held = undefined;
    for (const goOn of held) goOn();
  }

  /** Passes the next question on, and ends its connection in the place of the answer. */
  cutNextAnswer(): void {
    this.cutting = true;
  }

  /** Ends every connection. */
  cut(): void {
    for (const socket of this.sockets) socket.destroy();
  }

  async close(): Promise<void> {
    this.server.close();
    this.cut();
    await once(this.server, "close");
  }

  private pass(client: Socket, server: Socket): void {
    let answered = true;
    const both = [client, server];
    for (const socket of both) {
      this.sockets.add(socket);
      socket.setNoDelay(true);
      socket.on("error", () => undefined); // the end of it is seen below
      socket.on("close", () => {
        this.sockets.delete(socket);
        for (const end of both) end.destroy();
      });
    }
    client.on("data", (chunk) => {
      if (answered) this.trips += 1;
      answered = false;
      server.write(chunk);
    });
    server.on("data", (chunk) => {
      answered = true;
      if (this.cutting) {
        this.cutting = false;
        client.destroy();
      } else if (this.held) {
        this.held.push(() => client.write(chunk));
      } else {
        client.write(chunk);
      }
    });
  }
}
