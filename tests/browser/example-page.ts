import { execFile } from "node:child_process";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { promisify } from "node:util";
import { ROOT, serving, type Serving } from "./serving.js";

/** `examples/analysis-page`, served by Vite. */
export interface ExamplePage {
  /** Such as `http://127.0.0.1:41234`. */
  readonly origin: string;
  close(): Promise<void>;
}

/** Builds the page into a temporary folder, and serves it on a free port before this service. */
export async function examplePage(service: string): Promise<ExamplePage> {
  const folder = await mkdtemp(join(tmpdir(), "idemp-analysis-page-"));
  const out = ["--outDir", folder, "--emptyOutDir"];
  await promisify(execFile)(process.execPath, [VITE, "build", PAGE, ...out], { cwd: ROOT });
  const preview = await vite(service, ["preview", PAGE, "--outDir", folder]);
  return {
    origin: preview.origin,
    async close() {
      await preview.kill();
      await rm(folder, { recursive: true, force: true });
    },
  };
}

/** Serves the page as it is while somebody works on it: React's strict mode mounts all of it twice. */
export async function examplePageInDevelopment(service: string): Promise<ExamplePage> {
  const dev = await vite(service, ["dev", PAGE]);
  return { origin: dev.origin, close: () => dev.kill() };
}

function vite(service: string, words: readonly string[]): Promise<Serving> {
  return serving(process.execPath, [VITE, ...words, "--port", "0"], { VIDEO_TASKS_URL: service });
}

const VITE = join(ROOT, "node_modules/vite/bin/vite.js");
const PAGE = join(ROOT, "examples/analysis-page");
