import { fork } from "node:child_process";
import { once } from "node:events";
import { fileURLToPath } from "node:url";

/** One of those that are compared, in a process of its own, as it is in a service: what the others leave
 *  behind in a heap, or teach the compiler, is not its own. */
export interface Rival<A> {
  /** What it said when it had started. */
  readonly started: A;
  /** Asks it something, and waits for the answer. */
  ask(): Promise<A>;
  end(): void;
}

/** Starts a program of this folder, which is told the name. Warnings say what was asked for here. */
export async function rival<A>(program: string, name: string, env: NodeJS.ProcessEnv = {}): Promise<Rival<A>> {
  const source = fileURLToPath(new URL(program, import.meta.url));
  const child = fork(source, [name], { execArgv: ["--import", "tsx"], env: { ...process.env, NODE_NO_WARNINGS: "1", ...env } });
  const ended = once(child, "exit").then(() => Promise.reject(new Error(`${name} ended`)));
  ended.catch(() => undefined); // in the end they all do
  const told = async () => {
    const heard = new AbortController();
    const message = once(child, "message", heard) as Promise<[A]>;
    return (await Promise.race([message, ended]).finally(() => heard.abort()))[0];
  };
  return {
    started: await told(),
    ask() {
      child.send("ask");
      return told();
    },
    end: () => child.disconnect(),
  };
}

/** In the program: says that it has started, and answers from now on. */
export function answer<A>(started: A, asked: () => A | Promise<A>): void {
  process.on("message", async () => process.send!(await asked()));
  process.on("disconnect", () => process.exit());
  process.send!(started);
}
