/** {@link Crew}: workers that share one port, are killed, and are replaced. */
import cluster, { type Worker } from "node:cluster";
import { once } from "node:events";
import { createServer, type AddressInfo } from "node:net";
import { fileURLToPath } from "node:url";
import type { Dice } from "../dice.js";

export interface Work {
  readonly store: string;
  readonly ledger: string;
  /** In milliseconds. */
  readonly lease: number;
}

export class Crew {
  /** How often a worker was killed from outside, at any moment. */
  kills = 0;
  /** How often one ended, killed from outside or by itself. */
  deaths = 0;
  private readonly ready = new Set<Worker>();
  private readonly all = new Set<Worker>();
  private over = false;
  private readonly fallen = new AbortController();

  private constructor(
    readonly port: number,
    private readonly work: Work,
    private readonly dice: Dice,
  ) {}

  /** So many workers, on one port. */
  static async start(size: number, work: Work, dice: Dice): Promise<Crew> {
    const exec = fileURLToPath(new URL("worker.ts", import.meta.url));
    cluster.setupPrimary({ exec, execArgv: ["--import", "tsx"] });
    const crew = new Crew(await freePort(), work, dice);
    const { signal } = crew.fallen;
    await Promise.all(Array.from({ length: size }, () => once(crew.hire(), "listening", { signal })));
    return crew;
  }

  /** Kills a worker that is ready, if another one is, too. */
  kill(): void {
    const ready = [...this.ready];
    if (ready.length < 2) return;
    this.kills++;
    ready[this.dice.below(ready.length)]?.process.kill("SIGKILL");
  }

  /** @throws where a worker ended that nobody has killed: what it said is above. */
  check(): void {
    this.fallen.signal.throwIfAborted();
  }

  /** Ends them all. */
  async stop(): Promise<void> {
    this.over = true;
    await Promise.all(
      [...this.all].map(async (worker) => {
        const gone = once(worker, "exit");
        worker.process.kill("SIGKILL");
        await gone;
      }),
    );
  }

  private hire(): Worker {
    const { store, ledger, lease } = this.work;
    const worker = cluster.fork({
      CLUSTER_STORE: store,
      CLUSTER_LEDGER: ledger,
      CLUSTER_LEASE: lease,
      CLUSTER_SEED: this.dice.below(2 ** 31),
      CLUSTER_PORT: this.port,
    });
    this.all.add(worker);
    worker.on("listening", () => this.ready.add(worker));
    worker.on("exit", (code: number | null) => {
      this.all.delete(worker);
      this.ready.delete(worker);
      // Who is killed has no code. Who ends by itself is broken, and so would be the next one.
      if (code !== null) this.fallen.abort(new Error(`a worker ended with ${code}`));
      if (this.over || code !== null) return;
      this.deaths++;
      this.hire();
    });
    return worker;
  }
}

/** One that all workers can share, and that is the same when none of them was left. */
async function freePort(): Promise<number> {
  const server = createServer().listen(0, "127.0.0.1");
  await once(server, "listening");
  const { port } = server.address() as AddressInfo;
  server.close();
  await once(server, "close");
  return port;
}
