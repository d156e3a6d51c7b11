import { createHash } from "node:crypto";
import { mkdir, readFile } from "node:fs/promises";
import { createServer, type IncomingMessage, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { basename, extname, join, relative } from "node:path";
import { build } from "esbuild";

/** What a path is answered with: a script that {@link bundle} made, by its file; or a handler. */
export type Route = string | ((request: IncomingMessage, response: ServerResponse) => unknown);

/** A server of pages, on this machine only. */
export interface PagesServer {
  /** Such as `http://127.0.0.1:41234`. */
  readonly origin: string;
  /** Ends it, open requests too. */
  close(): Promise<void>;
}

/**
 * Serves these paths on 127.0.0.1, on a free port. The key `*` answers what no other does; without
 * it that is 404. A query is no part of a path.
 */
export async function serve(routes: Readonly<Record<string, Route>>): Promise<PagesServer> {
  const server = createServer((request, response) => {
    const { pathname } = new URL(request.url ?? "/", "http://localhost");
    const route = routes[pathname] ?? routes["*"];
    answer(route, request, response).catch((error: unknown) => {
      console.error(error);
      response.writeHead(500).end(String(error));
    });
  });
  await new Promise<void>((done) => server.listen(0, "127.0.0.1", done));
  const { port } = server.address() as AddressInfo;
  return {
    origin: `http://127.0.0.1:${port}`,
    async close() {
      const closed = new Promise((done) => server.close(done));
      server.closeAllConnections();
      await closed;
    },
  };
}

async function answer(route: Route | undefined, request: IncomingMessage, response: ServerResponse) {
  if (route === undefined) {
    response.writeHead(404).end();
  } else if (typeof route === "string") {
    const script = await readFile(route);
    // A sandboxed page is of no origin, and may load it all the same.
    const headers = { "content-type": "text/javascript", "cache-control": "no-store", "access-control-allow-origin": "*" };
    response.writeHead(200, headers).end(script);
  } else {
    await route(request, response);
  }
}

/** A page that loads one module, as a route. `headers`: such as a Content-Security-Policy. */
export function page(script: string, headers: Readonly<Record<string, string>> = {}): Route {
  const html = `<!doctype html><meta charset="utf-8"><link rel="icon" href="data:,"><title>idemp</title><div id="root"></div><script type="module" src="${script}"></script>`;
  return (_, response) =>
    response
      .writeHead(200, { "content-type": "text/html; charset=utf-8", "cache-control": "no-store", ...headers })
      .end(html);
}

/** Bundles a TypeScript file into one module for a page or a worker; gives the path of the file. */
export async function bundle(entry: string, options: { minify?: boolean } = {}): Promise<string> {
  const folder = join(import.meta.dirname, "pages");
  await mkdir(folder, { recursive: true });
  // Test files run side by side, and two entries may have one name.
  const unique = createHash("sha256").update(`${relative(folder, entry)} ${process.pid}`).digest("hex").slice(0, 8);
  const outfile = join(folder, `${basename(entry, extname(entry))}-${unique}.js`);
  await build({
    entryPoints: [entry],
    outfile,
    bundle: true,
    format: "esm",
    platform: "browser",
    target: "es2022",
    jsx: "automatic",
    loader: { ".wasm": "binary" },
    // What the package says of side effects is said of its build, and here the sources are taken.
    ignoreAnnotations: true,
    minify: options.minify ?? false,
    logLevel: "warning",
  });
  return outfile;
}
