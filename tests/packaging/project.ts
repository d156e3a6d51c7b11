import { execFile } from "node:child_process";
import { mkdir, mkdtemp, rm, symlink, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { promisify } from "node:util";

/** The root of the workspace. */
export const ROOT = join(import.meta.dirname, "../..");

/** A project of somebody who uses the package: it is installed from what would be published. */
export interface Project {
  readonly folder: string;
  /** Writes a file, and gives its path. */
  write(name: string, text: string): Promise<string>;
  /** Makes a package of the workspace's `node_modules` one of this project's. */
  borrow(name: string): Promise<void>;
  /** Runs a program in the folder, and gives what it prints, trimmed. */
  run(program: string, words: readonly string[], env?: Readonly<Record<string, string>>): Promise<string>;
  remove(): Promise<void>;
}

/** Packs the package, and installs the archive in a fresh project: nothing else, and no script. The
 *  package with the addon comes along only where it is asked for, as if it had not been published. */
export async function project(manifest: object = {}, options: { addon?: boolean } = {}): Promise<Project> {
  const folder = await mkdtemp(join(tmpdir(), "idemp-project-"));
  const run: Project["run"] = async (program, words, env = {}) => {
    try {
      const { stdout } = await promisify(execFile)(program, words, {
        cwd: folder,
        env: { ...process.env, NO_COLOR: "1", ...env },
        maxBuffer: 64 * 1024 * 1024,
      });
      return stdout.trim();
    } catch (error) {
      const { stdout = "", stderr = "" } = error as { stdout?: string; stderr?: string };
      throw new Error(`${program} ${words.join(" ")} failed\n${stdout}${stderr}`, { cause: error });
    }
  };
  const write: Project["write"] = async (name, text) => {
    const path = join(folder, name);
    await mkdir(dirname(path), { recursive: true });
    await writeFile(path, text);
    return path;
  };
  await write("package.json", JSON.stringify({ name: "consumer", private: true, ...manifest }));
  const archives = [await pack(folder), ...(options.addon ? [await pack(folder, ADDON)] : [])];
  const quiet = ["--offline", "--ignore-scripts", "--no-audit", "--no-fund", "--no-package-lock"];
  await run("npm", ["install", ...quiet, ...archives]);
  return {
    folder,
    run,
    write,
    async borrow(name) {
      const place = join(folder, "node_modules", name);
      await mkdir(dirname(place), { recursive: true });
      await symlink(join(ROOT, "node_modules", name), place);
    },
    remove: () => rm(folder, { recursive: true, force: true }),
  };
}

/** The package with the addon for this machine, as `cargo xtask node` leaves it. */
export const ADDON = join(ROOT, "target/npm", `${process.platform}-${process.arch}${libc()}`);

function libc(): string {
  if (process.platform === "win32") return "-msvc";
  if (process.platform !== "linux") return "";
  const { header } = process.report.getReport() as unknown as { header: { glibcVersionRuntime?: string } };
  return header.glibcVersionRuntime === undefined ? "-musl" : "-gnu";
}

/** What would be published, as an archive in this folder. */
export async function pack(folder: string, from = join(ROOT, "js")): Promise<string> {
  const words = ["pack", "--json", "--ignore-scripts", "--pack-destination", folder];
  const { stdout } = await promisify(execFile)("npm", words, { cwd: from });
  const [packed] = JSON.parse(stdout) as { filename: string }[];
  if (packed === undefined) throw new Error("npm packed nothing");
  return join(folder, packed.filename);
}
