/** PostgreSQL and Redis of a test's own, by the program that the tests in Rust have them from. */
import { type ChildProcessWithoutNullStreams, execFileSync, spawn } from "node:child_process";
import { once } from "node:events";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";

const root = fileURLToPath(new URL("../..", import.meta.url));

export type ServerName = "postgres" | "redis" | "redis-durable" | "cluster";

/** What {@link startServers} started. */
export class Servers {
  /** @internal */
  constructor(
    private readonly program: ChildProcessWithoutNullStreams,
    private readonly lines: AsyncIterator<string>,
    private readonly addresses: ReadonlyMap<string, readonly string[]>,
  ) {}

  /** The address of a server; of a cluster that of its first node. */
  url(name: ServerName): string {
    return this.urls(name)[0] as string;
  }

  /** The addresses of all nodes. */
  urls(name: ServerName): readonly string[] {
    const urls = this.addresses.get(name);
    if (!urls) throw new Error(`${name} was not started`);
    return urls;
  }

  kill(name: "postgres" | "redis"): Promise<string> {
    return this.say(`kill ${name}`);
  }

  /** After a kill: with the same files, on the same port. */
  start(name: "postgres" | "redis"): Promise<string> {
    return this.say(`start ${name}`);
  }

  /** Connections stay, and nothing answers. */
  pause(name: "postgres" | "redis"): Promise<string> {
    return this.say(`pause ${name}`);
  }

  resume(name: "postgres" | "redis"): Promise<string> {
    return this.say(`resume ${name}`);
  }

  /** A new and empty database: its address. */
  database(name: string): Promise<string> {
    return this.say(`database ${name}`);
  }

  /** A replica of the cluster takes over from the first primary. */
  failOver(): Promise<string> {
    return this.say("fail-over");
  }

  /** Ends them all. */
  async stop(): Promise<void> {
    const { exitCode, signalCode } = this.program;
    const gone = exitCode === null && signalCode === null ? once(this.program, "exit") : undefined;
    this.program.stdin.end();
    await gone;
  }

  private async say(command: string): Promise<string> {
    this.program.stdin.write(`${command}\n`);
    const { value, done } = await this.lines.next();
    if (done) throw new Error(`the servers ended at \`${command}\``);
    return value;
  }
}

/** Starts servers. They end with {@link Servers.stop}, and with this process however that ends. */
export async function startServers(...names: ServerName[]): Promise<Servers> {
  const program = spawn(built(), names, { stdio: ["pipe", "pipe", "inherit"] }) as unknown as ChildProcessWithoutNullStreams;
  const lines = createInterface(program.stdout)[Symbol.asyncIterator]();
  const addresses = new Map<string, readonly string[]>();
  for (;;) {
    const { value, done } = await lines.next();
    if (done) throw new Error(`no servers: ${names.join(", ")}; what they said is above`);
    if (value === "ready") return new Servers(program, lines, addresses);
    const [name, ...urls] = value.split(" ");
    addresses.set(name as string, urls);
  }
}

/** The program; `cargo xtask test` has built it, and says where it is. */
function built(): string {
  return process.env["IDEMP_SERVERS"] ?? builtByCargo("--package", "idemp-servers");
}

/** Where a program in Rust is, built if it is not yet. */
export function builtByCargo(...what: string[]): string {
  const cargo = ["build", "--quiet", ...what, "--message-format", "json-render-diagnostics"];
  const messages = execFileSync("cargo", cargo, { cwd: root, encoding: "utf8", stdio: ["ignore", "pipe", "inherit"] });
  const artifacts = messages.split("\n").filter((line) => line.includes('"executable":"'));
  return (JSON.parse(artifacts.at(-1) as string) as { executable: string }).executable;
}
