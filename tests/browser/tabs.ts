import { fileURLToPath } from "node:url";
import type { ServerResponse } from "node:http";
import type { BrowserContext, Page } from "playwright-core";
import { launch } from "./chromium.js";
import { bundle, page, serve } from "./pages-server.js";

/** A browser with tabs that have `stores-page.ts` loaded. */
export interface Tabs {
  readonly context: BrowserContext;
  readonly origin: string;
  /** Opens one more tab, of this origin or of another that means this server. */
  open(path?: string, origin?: string): Promise<Page>;
  close(): Promise<void>;
}

/** Starts a browser and a server of pages for the tests of the stores. */
export async function tabs(): Promise<Tabs> {
  const waiting = new Map<string, ServerResponse>();
  const server = await serve({
    "/": page("/stores-page.js"),
    "/sandboxed": page("/stores-page.js", { "content-security-policy": "sandbox allow-scripts" }),
    "/stores-page.js": await bundle(fileURLToPath(import.meta.resolve("./stores-page.ts"))),
    // Answers the first of two when the second comes: both are told when to start.
    "/meet": (request, response) => {
      const round = request.url ?? "";
      const other = waiting.get(round);
      if (other === undefined) {
        waiting.set(round, response);
      } else {
        waiting.delete(round);
        const start = String(Date.now() + 6);
        other.end(start);
        response.end(start);
      }
    },
  });
  const browser = await launch();
  return {
    context: browser.context,
    origin: server.origin,
    async open(path = "/", origin = server.origin) {
      const tab = await browser.context.newPage();
      await tab.goto(origin + path);
      await tab.waitForFunction(() => "idemp" in globalThis);
      return tab;
    },
    async close() {
      await browser.close();
      await server.close();
    },
  };
}
