import { readFileSync } from "node:fs";
import { join } from "node:path";


/** The entries that are ready as soon as they are imported. */
export const READY = ["idemp", "idemp/csp"] as const;

/** Every other module of the package, with a name that it has. */
export const MODULES: Readonly<Record<string, string>> = {
  "idemp/slim": "initialize",
  "idemp/memory": "memoryStore",
  "idemp/local-storage": "singleTabLocalStorage",
  "idemp/indexeddb": "indexedDbStore",
  "idemp/redis": "redisStore",
  "idemp/postgres": "postgresStore",
  "idemp/sqlite": "sqliteStore",
  "idemp/fetch": "createClient",
  "idemp/react": "useOnce",
  "idemp/testing": "conformance",
  "idemp/hono": "idempotent",
  "idemp/web": "idempotent",
  "idemp/events": "logEvents",
  "idemp/opentelemetry": "openTelemetry",
};

/** What the little program says where all is well. Its last word is a vector of Rust. */
export const EXPECTED = `miss ended hit 0,255,128,10 conflict ${vector("white space, order and escapes are merged")}`;

const PROGRAM = readFileSync(join(import.meta.dirname, "program.js"), "utf8");

/** The little program as an ES module. `then` is a statement that uses `said`. */
export function esm(entry: string, then = "console.log(said);"): string {
  return `
    import { createIdempotency, fingerprintOf } from ${JSON.stringify(entry)};
    import { memoryStore } from "idemp/memory";
    ${PROGRAM}
    const said = await program({ createIdempotency, fingerprintOf, memoryStore });
    ${then}
  `;
}

/** The little program as a worker: it decides when it is asked, since nothing random is had before. */
export function worker(entry: string): string {
  return `
    import { createIdempotency, fingerprintOf } from ${JSON.stringify(entry)};
    import { memoryStore } from "idemp/memory";
    ${PROGRAM}
    export default {
      fetch: async () => new Response(await program({ createIdempotency, fingerprintOf, memoryStore })),
    };
  `;
}

/** The little program as an ES module on the entry that is given its wasm, an expression; all from that entry. */
export function slim(imports: string, wasm: string, then = "console.log(said);"): string {
  return `
    ${imports}
    import { createIdempotency, fingerprintOf, initialize, memoryStore } from "idemp/slim";
    ${PROGRAM}
    await initialize(${wasm});
    const said = await program({ createIdempotency, fingerprintOf, memoryStore });
    ${then}
  `;
}

/** The little program as CommonJS. */
export function cjs(entry: string): string {
  return `
    const { createIdempotency, fingerprintOf } = require(${JSON.stringify(entry)});
    const { memoryStore } = require("idemp/memory");
    ${PROGRAM}
    program({ createIdempotency, fingerprintOf, memoryStore }).then(console.log);
  `;
}

/** The little program on a file, as an ES module. */
export function sqlite(file: string): string {
  return `
    import { createIdempotency, fingerprintOf } from "idemp";
    import { sqliteStore } from "idemp/sqlite";
    ${PROGRAM}
    const store = sqliteStore(${JSON.stringify(file)});
    console.log(await program({ createIdempotency, fingerprintOf, memoryStore: () => store }));
    await store.close();
  `;
}

/** Shows what was said to whoever looks at the page. */
export const SHOWN = `document.body.append(Object.assign(document.createElement("output"), { textContent: said }));`;

/** A page that loads one module. */
export function html(script: string): string {
  return `<!doctype html><meta charset="utf-8"><link rel="icon" href="data:,"><body><script type="module" src="${script}"></script></body>`;
}

function vector(name: string): string {
  const path = join(import.meta.dirname, "../vectors/fingerprint.json");
  const { cases } = JSON.parse(readFileSync(path, "utf8")) as { cases: { name: string; fingerprint: string }[] };
  const found = cases.find((one) => one.name === name);
  if (found === undefined) throw new Error(`no vector "${name}"`);
  return found.fingerprint;
}

/** What the client of the little service sees on every runtime. */
export const SERVED = ["web", "hono"]
  .map((_, at) => {
    const answer = `[${at + 1},1,{"a":1}]`;
    return `201,/1,,${answer} 201,/1,true,${answer} 409,,,IDEMPOTENCY_KEY_CONFLICT 400,,,IDEMPOTENCY_KEY_INVALID`;
  })
  .join(" ");

/** The little service with its client, as an ES module that prints. */
export function served(): string {
  return `
    ${serviceImports()}
    const serve = service({ createIdempotency, memoryStore, idempotent, executionOf, onRoutes, Hono });
    console.log(await client((path, init) => serve(new Request("http://localhost" + path, init))));
  `;
}

/** The little service as a worker; what decides is imported before the middleware, or after it. */
export function workerService(first: "idemp" | "the middleware"): string {
  return `
    ${serviceImports(first)}
    export default { fetch: service({ createIdempotency, memoryStore, idempotent, executionOf, onRoutes, Hono }) };
  `;
}

function serviceImports(first: "idemp" | "the middleware" = "idemp"): string {
  const idemp = `import { createIdempotency, memoryStore } from "idemp";`;
  const middleware = `
    import { idempotent, executionOf } from "idemp/web";
    import { idempotent as onRoutes } from "idemp/hono";
  `;
  return `
    ${first === "idemp" ? idemp + middleware : middleware + idemp}
    import { Hono } from "hono";
    ${SERVICE}
  `;
}

const SERVICE = readFileSync(join(import.meta.dirname, "middleware.js"), "utf8");

/** What the client of the little service sees where it is sent elsewhere. */
export const client = new Function(`${SERVICE}\nreturn client;`)() as (
  send: (path: string, init: RequestInit) => Promise<{ status: number; headers: { get(name: string): string | null }; json(): Promise<unknown> }>,
) => Promise<string>;
