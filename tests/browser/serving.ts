import { spawn } from "node:child_process";
import { once } from "node:events";
import { join } from "node:path";
import { createInterface } from "node:readline";

/** The root of the workspace. */
export const ROOT = join(import.meta.dirname, "../..");

/** A program that serves something. */
export interface Serving {
  /** Where, as it said on its standard output: such as `http://127.0.0.1:41234`. */
  readonly origin: string;
  /** Ends it as a crash would. */
  kill(): Promise<void>;
  /** Ends its standard input, and waits until it has ended. */
  stop(): Promise<void>;
}

/**
 * Starts a program in the root of the workspace and waits until it says where it serves.
 *
 * @throws where it ends before, with all that it said.
 */
export async function serving(
  program: string,
  words: readonly string[],
  env: Readonly<Record<string, string>> = {},
): Promise<Serving> {
  const child = spawn(program, words, {
    cwd: ROOT,
    env: { ...process.env, NO_COLOR: "1", ...env },
    stdio: ["pipe", "pipe", "pipe"],
  });
  const ended = once(child, "close");
  let output = "";
  child.stderr.on("data", (data) => (output += String(data)));
  const origin = await new Promise<string>((found, failed) => {
    createInterface(child.stdout).on("line", (line) => {
      output += `${line}\n`;
      const match = /http:\/\/127\.0\.0\.1:\d+/.exec(line);
      if (match) found(match[0]);
    });
    ended.then(() => failed(new Error(`${program} ended early:\n${output}`)), failed);
  });
  return {
    origin,
    async kill() {
      child.kill("SIGKILL");
      await ended;
    },
    async stop() {
      child.stdin.end();
      await ended;
    },
  };
}
