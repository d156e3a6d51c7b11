/** The store of the Rust crates, by the example `hand_over` of `idemp-stores`: one process an ask. */
import { execFile } from "node:child_process";
import { promisify } from "node:util";
import { builtByCargo } from "../servers.js";

let program: string | undefined;

/** Where its program is. To build it may take longer than a lease lives: so before the first one begins. */
export function prepared(): string {
  return (program ??= builtByCargo("--package", "idemp-stores", "--example", "hand_over"));
}

/** What it answers to `begin USER KEY PAYLOAD`, `publish TOKEN STATE` or `finish TOKEN OUTCOME`. */
export async function inRust(url: string, ...words: string[]): Promise<{ said: string; rest: string }> {
  const { stdout } = await promisify(execFile)(prepared(), [url, ...words]);
  const [, said = "", rest = ""] = /^(in progress|\w+) ?(.*)$/s.exec(stdout.trimEnd()) ?? [];
  return { said, rest };
}
