/** The store of the Rust crates, by the example `hand_over` of `idemp-stores`: one process an ask. */
import { execFile } from "node:child_process";
import { promisify } from "node:util";
import { builtByCargo } from "../servers.js";

let program: string | undefined;

/** What it answers to `begin USER KEY PAYLOAD`, `publish TOKEN STATE` or `finish TOKEN OUTCOME`. */
export async function inRust(url: string, ...words: string[]): Promise<{ said: string; rest: string }> {
  program ??= builtByCargo("--package", "idemp-stores", "--example", "hand_over");
  const { stdout } = await promisify(execFile)(program, [url, ...words]);
  const [, said = "", rest = ""] = /^(in progress|\w+) ?(.*)$/s.exec(stdout.trimEnd()) ?? [];
  return { said, rest };
}
