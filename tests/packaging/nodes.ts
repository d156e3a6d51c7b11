import { delimiter } from "node:path";

/** The programs of this Node and of newer ones, by what they are called. */
export const NODES: Readonly<Record<string, string>> = { "this Node": process.execPath, ...newer() };

function newer(): Record<string, string> {
  const named = process.env["IDEMP_NEWER_NODE"];
  if (!named) {
    throw new Error("name the programs of Node 22 and newer in IDEMP_NEWER_NODE, or run `cargo xtask test --only packaging`");
  }
  return Object.fromEntries(named.split(delimiter).map((program, at) => [`newer Node ${at + 1}`, program]));
}
