// The packed package through bundlers, and in the browser that they are for.

import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { readFile, readdir, stat } from "node:fs/promises";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { extname, join } from "node:path";
import { after, afterEach, before, beforeEach, test } from "node:test";
import { build } from "esbuild";
import webpack from "webpack";
import { launch, type Chromium } from "../browser/chromium.js";
import { esm, EXPECTED, html, READY, SHOWN, slim } from "./consumer.js";
import { project, ROOT, type Project } from "./project.js";

const VITE = join(ROOT, "node_modules/vite/bin/vite.js");

let chromium: Chromium;
let consumer: Project;

before(async () => {
  chromium = await launch();
});

after(() => chromium?.close());

beforeEach(async () => {
  consumer = await project({ type: "module" });
  await consumer.write("index.html", html("/main.js"));
});

afterEach(() => consumer.remove());

for (const entry of READY) {
  test(`Vite builds a page on ${entry}, and the page decides`, async () => {
    await consumer.write("main.js", esm(entry, SHOWN));
    await consumer.run(process.execPath, [VITE, "build", "--target", "esnext"]);
    assert.equal(await servedFrom(join(consumer.folder, "dist"), entry), EXPECTED);
  });

  test(`Vite's dev server serves a page on ${entry}, and the page decides`, async () => {
    await consumer.write("main.js", esm(entry, SHOWN));
    await dev(async (origin) => assert.equal(await shown(`${origin}/`), EXPECTED));
  });

  test(`webpack builds a page on ${entry}, and the page decides`, async () => {
    await consumer.write("main.js", esm(entry, SHOWN));
    await packed(await consumer.write("entry.js", `import "./main.js";`));
    await consumer.write("dist/index.html", html("/main.js"));
    assert.equal(await servedFrom(join(consumer.folder, "dist"), entry), EXPECTED);
  });

  test(`esbuild bundles ${entry} for a page and for Node, and both decide`, async () => {
    const main = await consumer.write("main.js", esm(entry, SHOWN));
    await consumer.write("dist/index.html", html("/main.js"));
    const outfile = join(consumer.folder, "dist/main.js");
    await build({ entryPoints: [main], outfile, bundle: true, minify: true, format: "esm", logLevel: "silent" });
    assert.equal(await servedFrom(join(consumer.folder, "dist"), entry), EXPECTED);

    const script = await consumer.write("node.js", esm(entry));
    const bundled = join(consumer.folder, "bundled.mjs");
    await build({
      ...{ entryPoints: [script], outfile: bundled, bundle: true, minify: true },
      ...{ format: "esm", platform: "node", logLevel: "silent" },
    });
    assert.equal(await consumer.run(process.execPath, [bundled]), EXPECTED);
  });
}

test("Vite builds a page that streams its wasm from a file, and the page decides", async () => {
  await consumer.write("main.js", slim(`import url from "idemp/idemp.wasm?url";`, "fetch(url)", SHOWN));
  await consumer.run(process.execPath, [VITE, "build", "--target", "esnext"]);
  const assets = await readdir(join(consumer.folder, "dist/assets"));
  const wasm = assets.find((name) => name.endsWith(".wasm"));
  const script = assets.find((name) => name.endsWith(".js"));
  assert.ok(wasm !== undefined && script !== undefined, assets.join());
  const size = async (name: string) => (await stat(join(consumer.folder, "dist/assets", name))).size;
  assert.ok((await size(script)) < (await size(wasm)), "the script has the wasm in it, too");
  assert.equal(await servedFrom(join(consumer.folder, "dist")), EXPECTED);
});

test("webpack builds a page that streams its wasm from a file, and the page decides", async () => {
  const url = `new URL("idemp/idemp.wasm", import.meta.url)`;
  await consumer.write("main.js", slim("", `fetch(${url})`, SHOWN));
  await packed(await consumer.write("entry.js", `import "./main.js";`));
  await consumer.write("dist/index.html", html("/main.js"));
  assert.equal(await servedFrom(join(consumer.folder, "dist")), EXPECTED);
});

test("a page that takes the machine and the memory store has no other store in it", async () => {
  const main = await consumer.write("main.js", esm("idemp", SHOWN));
  const outfile = join(consumer.folder, "bundle.js");
  await build({ entryPoints: [main], outfile, bundle: true, minify: true, format: "esm", logLevel: "silent" });
  const text = await readFile(outfile, "utf8");
  assert.match(text, /final-1769660861/);
  assert.doesNotMatch(text, /indexedDB|localStorage|BroadcastChannel/);
});

test("a page that takes the client has nothing in it of what tells a server's events", async () => {
  const main = await consumer.write("main.js", `import { createClient } from "idemp/fetch"; globalThis.make = createClient;`);
  const outfile = join(consumer.folder, "bundle.js");
  await build({ entryPoints: [main], outfile, bundle: true, minify: true, format: "esm", logLevel: "silent" });
  const text = await readFile(outfile, "utf8");
  assert.match(text, /WINDOW_OVER/);
  assert.doesNotMatch(text, /STORE START|FORGOTTEN|\[IDEMP\]/);
});

/** What the page says. */
async function shown(url: string): Promise<string> {
  const page = await chromium.context.newPage();
  const errors: string[] = [];
  page.on("pageerror", (error) => errors.push(String(error)));
  try {
    await page.goto(url);
    const said = page.locator("output");
    await said.waitFor({ state: "attached", timeout: 20_000 });
    return (await said.textContent()) ?? "";
  } catch (error) {
    throw new Error(`the page said nothing\n${errors.join("\n")}`, { cause: error });
  } finally {
    await page.close();
  }
}

/** What the page of this folder says. The entry for strict pages is shown on one. */
async function servedFrom(folder: string, entry?: string): Promise<string> {
  const strict = { "content-security-policy": "default-src 'self'; img-src data:" };
  const headers = entry === "idemp/csp" ? strict : {};
  const server = createServer(async (request, response) => {
    const { pathname } = new URL(request.url ?? "/", "http://localhost");
    const path = join(folder, pathname === "/" ? "index.html" : pathname);
    const found = await stat(path).catch(() => undefined);
    if (!found?.isFile()) response.writeHead(404).end();
    else {
      const type = TYPES[extname(path)] ?? "text/plain";
      response.writeHead(200, { ...headers, "content-type": type }).end(await readFile(path));
    }
  });
  await new Promise<void>((done) => server.listen(0, "127.0.0.1", done));
  try {
    return await shown(`http://127.0.0.1:${(server.address() as AddressInfo).port}/`);
  } finally {
    server.closeAllConnections();
    await new Promise((done) => server.close(done));
  }
}

const TYPES: Readonly<Record<string, string>> = {
  ".html": "text/html",
  ".js": "text/javascript",
  ".wasm": "application/wasm",
};

/** Vite's dev server of the project, for as long as `use` takes. */
async function dev(use: (origin: string) => Promise<void>) {
  const words = [VITE, "dev", "--host", "127.0.0.1", "--port", "0"];
  const child = spawn(process.execPath, words, {
    ...{ cwd: consumer.folder, stdio: ["pipe", "pipe", "pipe"], env: { ...process.env, NO_COLOR: "1" } },
  });
  const ended = new Promise<void>((done) => child.once("close", () => done()));
  let output = "";
  try {
    const origin = await new Promise<string>((found, failed) => {
      const look = (data: Buffer) => {
        output += String(data);
        const match = /http:\/\/127\.0\.0\.1:\d+/.exec(output);
        if (match) found(match[0]);
      };
      child.stdout.on("data", look);
      child.stderr.on("data", look);
      void ended.then(() => failed(new Error(`Vite ended early\n${output}`)));
    });
    await use(origin);
  } finally {
    child.kill("SIGKILL");
    await ended;
  }
}

/** Builds `dist/main.js` with webpack. */
async function packed(entry: string) {
  const stats = await new Promise<webpack.Stats>((done, failed) => {
    webpack(
      {
        ...{ context: consumer.folder, mode: "production", entry, target: "web" },
        output: { path: join(consumer.folder, "dist"), filename: "main.js", publicPath: "/" },
        experiments: { topLevelAwait: true },
      },
      (error, stats) => (error || !stats ? failed(error) : done(stats)),
    );
  });
  assert.ok(!stats.hasErrors() && !stats.hasWarnings(), stats.toString({ colors: false }));
}
