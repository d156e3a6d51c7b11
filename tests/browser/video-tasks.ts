import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtemp, rm } from "node:fs/promises";
import { request as ask, type IncomingMessage, type ServerResponse } from "node:http";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";

/** The demo service of `examples/video_tasks`, as it is. */
export interface VideoTasks {
  readonly origin: string;
  /** Hands a request of a page on to it, so that both have one origin. */
  readonly pass: (request: IncomingMessage, response: ServerResponse) => void;
  /** What was handed on: method, path, key and status, in order. */
  readonly passed: { method: string; path: string; key: string | undefined; status: number }[];
  /** The next answer is lost on its way: the service did what it was asked. */
  loseNext(): void;
  close(): Promise<void>;
}

/** Builds and starts it, with its files in a temporary folder. */
export async function videoTasks(): Promise<VideoTasks> {
  const folder = await mkdtemp(join(tmpdir(), "idemp-video-tasks-"));
  const root = join(import.meta.dirname, "../..");
  const options = ["--port", "0", "--store", "memory", "--tasks", join(folder, "tasks.db"), "--stop-at-eof"];
  const service = spawn("cargo", ["run", "--quiet", "--package", "video_tasks", "--", ...options], {
    cwd: root,
    stdio: ["pipe", "pipe", "ignore"],
  });
  const ended = once(service, "exit");
  const lines = createInterface(service.stdout);
  const started = once(lines, "line") as Promise<[string]>;
  const [line] = await Promise.race([
    started,
    ended.then(() => Promise.reject(new Error("the service did not start"))),
  ]);
  const origin = line.slice(line.indexOf("http"));
  const passed: VideoTasks["passed"] = [];
  let losing = false;
  return {
    origin,
    passed,
    loseNext: () => void (losing = true),
    pass(request, response) {
      const { method = "GET", url: path = "/", headers } = request;
      const onward = ask(`${origin}${path}`, { method, headers }, (answer) => {
        const { statusCode: status = 0 } = answer;
        passed.push({ method, path, key: headers["idempotency-key"] as string | undefined, status });
        if (losing) {
          losing = false;
          return void response.socket?.destroy();
        }
        answer.pipe(response.writeHead(status, answer.headers));
      });
      onward.on("error", () => response.socket?.destroy());
      request.pipe(onward);
    },
    async close() {
      service.stdin.end();
      await ended;
      await rm(folder, { recursive: true, force: true });
    },
  };
}
