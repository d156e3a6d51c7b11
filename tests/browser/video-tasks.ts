import { mkdtemp, rm } from "node:fs/promises";
import { request as ask, type IncomingMessage, type ServerResponse } from "node:http";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { serving } from "./serving.js";

/** A demo service, as it is: that of `examples/video_tasks` or of `examples/express-video-tasks`. */
export interface VideoTasks {
  readonly origin: string;
  /** Hands a request of a page on to it, so that both have one origin. */
  readonly pass: (request: IncomingMessage, response: ServerResponse) => void;
  /** What was handed on: method, path, key and status, in order. */
  readonly passed: { method: string; path: string; key: string | undefined; status: number }[];
  /** The next answer is lost on its way: the service did what it was asked. */
  loseNext(): void;
  /** Ends it as a crash would. What it has stored stays. */
  kill(): Promise<void>;
  /** Starts it again, on the same port. */
  restart(): Promise<void>;
  close(): Promise<void>;
}

/** Builds and starts it, with its files in a temporary folder; that in Express has its keys in memory. */
export async function videoTasks(language: "Rust" | "Express" = "Rust"): Promise<VideoTasks> {
  const folder = await mkdtemp(join(tmpdir(), "idemp-video-tasks-"));
  const start = (port: string) => {
    const words = ["--stop-at-eof", "--port", port, "--tasks", join(folder, "tasks")];
    if (language === "Express") {
      const service = ["--import", "tsx", "examples/express-video-tasks/src/service.ts"];
      return serving(process.execPath, [...service, ...words, "--store", "memory"]);
    }
    const service = ["run", "--quiet", "--package", "video_tasks", "--bin", "video_tasks", "--"];
    return serving("cargo", [...service, ...words, "--store", `sqlite:${join(folder, "keys.db")}`]);
  };
  let service = await start("0");
  const { origin } = service;
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
    kill: () => service.kill(),
    async restart() {
      service = await start(new URL(origin).port);
    },
    async close() {
      await service.stop();
      await rm(folder, { recursive: true, force: true });
    },
  };
}
