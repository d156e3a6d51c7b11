import { execFile } from "node:child_process";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { promisify } from "node:util";
import { ROOT, run } from "./video-tasks.js";

/** `examples/analysis-page`, built and served by Vite's preview. */
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
  const words = [VITE, "preview", PAGE, "--outDir", folder, "--port", "0"];
  const preview = await run(/(http:\/\/127\.0\.0\.1:\d+)/, process.execPath, words, {
    VIDEO_TASKS_URL: service,
  });
  return {
    origin: preview.said,
    async close() {
      await preview.kill();
      await rm(folder, { recursive: true, force: true });
    },
  };
}

const VITE = join(ROOT, "node_modules/vite/bin/vite.js");
const PAGE = join(ROOT, "examples/analysis-page");
