import { mkdtemp, rm } from "node:fs/promises";
import { accessSync, constants } from "node:fs";
import { tmpdir } from "node:os";
import { delimiter, join } from "node:path";
import { chromium, type BrowserContext } from "playwright-core";

/** A real Chromium with a profile of its own. */
export interface Chromium {
  /** Its pages are tabs of one browser: they share what an origin stores. */
  readonly context: BrowserContext;
  /** Ends the browser and removes its profile. */
  close(): Promise<void>;
}

/**
 * Starts the system's Chromium, with a fresh profile on disk in a temporary folder.
 *
 * @throws where no Chromium is on the PATH: `IDEMP_CHROMIUM` may name it.
 */
export async function launch(options: { args?: string[] } = {}): Promise<Chromium> {
  const profile = await mkdtemp(join(tmpdir(), "idemp-chromium-"));
  const context = await chromium.launchPersistentContext(profile, {
    executablePath: executable(),
    args: [
      "--no-sandbox",
      "--disable-background-networking",
      "--disable-component-update",
      "--disable-sync",
      "--disable-quic",
      ...(options.args ?? []),
    ],
  });
  // The loader of TypeScript wraps functions in it, also those that a test hands to a page.
  await context.addInitScript("globalThis.__name = (made) => made");
  return {
    context,
    async close() {
      await context.close();
      // The browser's last processes may still be writing.
      await rm(profile, { recursive: true, force: true, maxRetries: 10, retryDelay: 100 });
    },
  };
}

function executable(): string {
  const named = process.env["IDEMP_CHROMIUM"];
  if (named !== undefined) return named;
  const folders = (process.env["PATH"] ?? "").split(delimiter);
  for (const name of ["chromium", "chromium-browser", "google-chrome"]) {
    for (const folder of folders) {
      const path = join(folder, name);
      try {
        accessSync(path, constants.X_OK);
        return path;
      } catch {
        // Not here.
      }
    }
  }
  throw new Error("no Chromium on the PATH: install chromium, or set IDEMP_CHROMIUM to its program");
}
