/** Deno and Bun: the programs of the packages for this machine. Scripts of packages may not have run. */
import { accessSync, readdirSync } from "node:fs";
import { join } from "node:path";
import { ROOT } from "./project.js";

export function deno(): string {
  return program([...ofPlatform("@deno", "deno"), "deno/deno"]);
}

export function bun(): string {
  return program([...ofPlatform("@oven", "bin/bun"), "bun/bin/bun.exe"]);
}

function ofPlatform(scope: string, path: string): string[] {
  return readdirSync(join(ROOT, "node_modules", scope)).map((name) => `${scope}/${name}/${path}`);
}

function program(places: readonly string[]): string {
  const found = places
    .map((place) => join(ROOT, "node_modules", place))
    .find((path) => {
      try {
        accessSync(path);
        return true;
      } catch {
        return false;
      }
    });
  if (found === undefined) throw new Error(`none of ${places.join(", ")} is in node_modules: run npm ci`);
  return found;
}
