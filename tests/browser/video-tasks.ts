import { type ChildProcess, spawn } from "node:child_process";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";

/** The root of the workspace. */
export const ROOT = join(import.meta.dirname, "../..");

/** The demo service, with its keys and its tasks in a temporary folder. */
export interface VideoTasks {
  /** Such as `http://127.0.0.1:41234`. */
  readonly origin: string;
  /** Ends it as a crash would. What it has stored stays. */
  kill(): Promise<void>;
  /** Starts it again, on the same port. */
  restart(): Promise<void>;
  /** Ends it and removes what it has stored. */
  close(): Promise<void>;
}

/** Builds the service if need be, and starts it on a free port. */
export async function videoTasks(): Promise<VideoTasks> {
  const folder = await mkdtemp(join(tmpdir(), "idemp-video-tasks-"));
  const start = (port: string) =>
    run(/listening on (http:\S+)/, "cargo", [
      ...["run", "--quiet", "--package", "video_tasks", "--bin", "video_tasks", "--"],
      ...["--stop-at-eof", "--port", port, "--tasks", join(folder, "tasks.db")],
      ...["--store", `sqlite:${join(folder, "keys.db")}`],
    ]);
  let running = await start("0");
  const origin = running.said;
  return {
    origin,
    kill: () => running.kill(),
    async restart() {
      running = await start(new URL(origin).port);
    },
    async close() {
      await running.kill();
      await rm(folder, { recursive: true, force: true });
    },
  };
}

/** A program that serves something. */
export interface Running {
  /** What it said on its standard output: the first group of the pattern. */
  readonly said: string;
  kill(): Promise<void>;
}

/**
 * Starts a program in the root of the workspace and waits until a line of its output matches.
 *
 * @throws where it ends before, with all that it said.
 */
export async function run(
  pattern: RegExp,
  program: string,
  words: readonly string[],
  env: Readonly<Record<string, string>> = {},
): Promise<Running> {
  const child = spawn(program, words, {
    cwd: ROOT,
    env: { ...process.env, NO_COLOR: "1", ...env },
    stdio: ["pipe", "pipe", "pipe"],
  });
  const ended = new Promise<void>((done) => child.once("close", () => done()));
  const output: string[] = [];
  child.stderr.on("data", (data) => output.push(String(data)));
  const said = await new Promise<string>((found, failed) => {
    createInterface(child.stdout).on("line", (line) => {
      output.push(`${line}\n`);
      const match = pattern.exec(line);
      if (match?.[1] !== undefined) found(match[1]);
    });
    child.once("error", failed);
    void ended.then(() => failed(new Error(`${program} ended early:\n${output.join("")}`)));
  });
  return { said, kill: () => kill(child, ended) };
}

async function kill(child: ChildProcess, ended: Promise<void>) {
  child.kill("SIGKILL");
  await ended;
}
