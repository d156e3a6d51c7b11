/** The programs of `examples/express-video-tasks`, as child processes. */
import { spawn, type ChildProcessWithoutNullStreams } from "node:child_process";
import { once } from "node:events";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";

const folder = fileURLToPath(new URL("../../../examples/express-video-tasks", import.meta.url));

/** One that was started. It ends with {@link stop} or {@link kill}, or when this process ends. */
export class Program {
  /** What it has written to its standard output and error, by lines. */
  readonly output: string[] = [];
  readonly log: string[] = [];
  readonly child: ChildProcessWithoutNullStreams;
  private readonly ended: Promise<unknown>;
  private readonly lines: AsyncIterator<string>;

  constructor(name: "service" | "worker", words: readonly string[], env: Readonly<Record<string, string>> = {}) {
    const { PORT: _, STORE: __, IDEMPOTENCY_TTL_HOURS: ___, ...others } = process.env;
    const script = [...["--import", "tsx", `src/${name}.ts`], ...words];
    this.child = spawn(process.execPath, script, { cwd: folder, env: { ...others, ...env } });
    this.ended = once(this.child, "close");
    this.lines = createInterface(this.child.stdout)[Symbol.asyncIterator]();
    createInterface(this.child.stderr).on("line", (line) => this.log.push(line));
  }

  /** Its next line on the standard output; `undefined` where it has ended. */
  async line(): Promise<string | undefined> {
    const { value, done } = await this.lines.next();
    if (done) return undefined;
    this.output.push(value);
    return value;
  }

  /** How it ended: its code, or the signal. */
  async end(): Promise<number | string> {
    await this.ended;
    return this.child.exitCode ?? this.child.signalCode ?? "nothing";
  }

  /** Ends it as a crash would. */
  async kill(): Promise<void> {
    this.child.kill("SIGKILL");
    await this.ended;
  }

  /** Lets it end what it has begun, by the end of its input: its code. */
  async stop(): Promise<number | string> {
    this.child.stdin.end();
    return this.end();
  }
}

/** An answer, read to its end. */
export interface Reply {
  readonly status: number;
  readonly headers: Headers;
  readonly text: string;
  readonly json: Readonly<Record<string, unknown>>;
}

export interface Call {
  readonly method?: string;
  readonly path: string;
  readonly body?: string;
  readonly user?: string;
  readonly key?: string;
  readonly headers?: Readonly<Record<string, string>>;
}

/** The service, on a free port. */
export class Service {
  private constructor(
    readonly program: Program,
    readonly origin: string,
  ) {}

  /** @throws where it does not listen, with what it said. */
  static async start(place: { store: string; tasks: string }, env: Record<string, string> = {}): Promise<Service> {
    const program = new Program("service", ["--stop-at-eof", "--port", "0", "--tasks", place.tasks], {
      STORE: place.store,
      ...env,
    });
    const line = await program.line();
    const [, origin] = /^listening on (http:\/\/127\.0\.0\.1:\d+)$/.exec(line ?? "") ?? [];
    if (origin === undefined) {
      await program.kill();
      throw new Error(`the service did not listen: ${line}\n${program.log.join("\n")}`);
    }
    return new Service(program, origin);
  }

  async send({ method = "POST", path, body, user, key, headers = {} }: Call): Promise<Reply> {
    const all = new Headers(headers);
    if (body !== undefined && !all.has("content-type")) all.set("content-type", "application/json");
    if (user !== undefined) all.set("authorization", `Bearer ${user}`);
    if (key !== undefined) all.set("idempotency-key", key);
    const answer = await fetch(`${this.origin}${path}`, { method, headers: all, body: body ?? null });
    const text = await answer.text();
    return { status: answer.status, headers: answer.headers, text, json: parsed(text) };
  }
}

function parsed(text: string): Reply["json"] {
  try {
    return JSON.parse(text) as Reply["json"];
  } catch {
    return {};
  }
}
