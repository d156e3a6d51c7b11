// What the packed package says of itself: its manifest and its types.

import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { promisify } from "node:util";
import { pack, project, ROOT, type Project } from "./project.js";

let consumer: Project;

before(async () => {
  consumer = await project();
  const borrowed = ["react", "@types/react", "csstype", "hono", "@opentelemetry/api", "@types/node", "@types/express", "express", "fastify"];
  for (const name of [...borrowed, "got", "ky", "axios", "axios-retry"]) await consumer.borrow(name);
});

after(() => consumer?.remove());

test("publint finds nothing wrong", async () => {
  const archive = await pack(consumer.folder);
  await ran("publint/src/cli.js", ["run", archive, "--strict"]);
});

test("the types are right however they are resolved", async () => {
  const archive = await pack(consumer.folder);
  // A project of before 2022 (node10) reads no `exports`, and the wasm has no types.
  const words = [archive, "--profile", "node16", "--exclude-entrypoints", "./idemp.wasm", "./fast.wasm", "./package.json"];
  await ran("@arethetypeswrong/cli/dist/index.js", [...words, "--no-color", "--no-emoji"]);
});

for (const [module, moduleResolution] of [
  ["node16", "node16"],
  ["esnext", "bundler"],
] as const) {
  for (const [form, name] of [
    ["an ES module", "consumer.mts"],
    ["CommonJS", "consumer.cts"],
  ] as const) {
    if (moduleResolution === "bundler" && form === "CommonJS") continue;
    test(`a strict consumer that is ${form} compiles with moduleResolution ${moduleResolution}`, async () => {
      await consumer.write(name, CONSUMER);
      const config = await consumer.write(
        `tsconfig.${name}.${moduleResolution}.json`,
        JSON.stringify({
          compilerOptions: {
            ...{ module, moduleResolution, target: "es2022", lib: ["es2022", "dom", "dom.iterable"] },
            ...{ strict: true, exactOptionalPropertyTypes: true, noUncheckedIndexedAccess: true },
            // The package's own types are checked, too.
            ...{ skipLibCheck: false, types: [], noEmit: true },
          },
          files: [name],
        }),
      );
      await ran("typescript/bin/tsc", ["--project", config]);
    });
  }
}

test("the example of events in the README compiles", async () => {
  const readme = await readFile(join(ROOT, "js/README.md"), "utf8");
  const example = /^## Events.*?```ts\n(.*?)```/ms.exec(readme)?.[1];
  assert.ok(example);
  await consumer.write("events.mts", `${example}\ndeclare function alarm(code: string): void;\nexport { idem };`);
  const config = await consumer.write(
    "tsconfig.events.json",
    JSON.stringify({
      compilerOptions: { module: "node16", target: "es2022", lib: ["es2022", "dom"], strict: true, types: [], noEmit: true },
      files: ["events.mts"],
    }),
  );
  await ran("typescript/bin/tsc", ["--project", config]);
});

/** The block of got makes it, for all. */
const AGAIN = "declare const again: number[];";
const PAGE = `
  declare const session: { userId: string };
  declare const [tenantId, file, headers, body]: [string, File, Headers, FormData];`;

/** Where a README shows code that is about something, and what it takes for granted. */
const SHOWN: readonly (readonly [what: string, readme: string, section: string, about: RegExp, given: string])[] = [
  [
    "a service on Express",
    "js/README.md",
    "In a service",
    /"idemp\/express"/,
    `import express, { type Express } from "express";
     declare global { namespace Express { interface Request { user: { id: string } } } }
     declare const app: Express;`,
  ],
  [
    "a service on Fastify",
    "js/README.md",
    "In a service",
    /"idemp\/fastify"/,
    `import type { FastifyInstance, FastifyRequest } from "fastify";
     declare module "fastify" { interface FastifyRequest { user: { id: string } } }
     declare const app: FastifyInstance;
     declare function createTask(request: FastifyRequest): Promise<object>;`,
  ],
  [
    "a service on Hono",
    "js/README.md",
    "In a service",
    /"idemp\/hono"/,
    `import type { Hono } from "hono";
     declare const app: Hono<{ Variables: { user: { id: string } } }>;`,
  ],
  [
    "a handler of requests and responses",
    "js/README.md",
    "In a service",
    /"idemp\/web"/,
    `declare function userOf(request: Request): Promise<string>;`,
  ],
  ["got", "js/README.md", "Clients that retry", /got\.extend/, `import { randomUUID } from "node:crypto"; import got from "got";`],
  ["ky", "js/README.md", "Clients that retry", /ky\.create/, `import { randomUUID } from "node:crypto"; import ky from "ky"; ${AGAIN}`],
  [
    "axios",
    "js/README.md",
    "Clients that retry",
    /axiosRetry/,
    `import { randomUUID } from "node:crypto"; import axios from "axios"; import axiosRetry from "axios-retry"; ${AGAIN}`,
  ],
  [
    "a service, at a glance",
    "README.md",
    "In a Node service",
    /"idemp\/express"/,
    `import type { Express, RequestHandler } from "express";
     declare global { namespace Express { interface Request { user: { id: string } } } }
     declare const app: Express;
     declare const createTask: RequestHandler;`,
  ],
  ["a page, at a glance", "README.md", "In a page", /"idemp\/fetch"/, PAGE],
  ["a page", "js/README.md", "In a page", /"idemp\/fetch"/, PAGE],
];

test("what the READMEs show of services, of clients that retry and of pages compiles", async () => {
  const files: string[] = [];
  for (const [what, name, heading, about, given] of SHOWN) {
    const readme = await readFile(join(ROOT, name), "utf8");
    const section = new RegExp(`^#+ ${heading}[^]*?(?=^#|(?![^]))`, "m").exec(readme)?.[0] ?? "";
    const blocks = [...section.matchAll(/```ts\n([^]*?)```/g)].map(([, block]) => block as string);
    const shown = blocks.find((block) => about.test(block));
    assert.ok(shown, `nothing is shown of ${what}`);
    // What the blocks before have made.
    const before = blocks.filter((block) => COMMON.test(block) && block !== shown);
    const file = `readme ${what}.mts`;
    await consumer.write(file, [given, CREATE, ...before, shown, "export {};"].join("\n"));
    files.push(file);
  }
  const compilerOptions = {
    ...{ module: "node16", target: "es2022", lib: ["es2022", "dom", "dom.iterable"], strict: true, types: ["node"], noEmit: true },
    // Those of the clients are not ours.
    skipLibCheck: true,
  };
  for (const file of files) {
    // Each by itself: what is declared globally is for one of them.
    const config = await consumer.write(`tsconfig.${file}.json`, JSON.stringify({ compilerOptions, files: [file] }));
    await ran("typescript/bin/tsc", ["--project", config]);
  }
});

/** What those of services share. */
const COMMON = /memoryStore\(\)/;
const CREATE = "declare function create(order: unknown, fence?: bigint): Promise<{ id: string }>;";

test("a consumer who errs is told by the types", async () => {
  await consumer.write(
    "wrong.mts",
    `import { createIdempotency } from "idemp";
     import { memoryStore } from "idemp/memory";
     const idem = createIdempotency({ store: memoryStore(), retention: "a day" });
     await idem.begin(["acme"], "key", "01ab");`,
  );
  const config = await consumer.write(
    "tsconfig.wrong.json",
    JSON.stringify({
      compilerOptions: { ...{ module: "node16", target: "es2022", strict: true, types: [], noEmit: true }, skipLibCheck: true },
      files: ["wrong.mts"],
    }),
  );
  await assert.rejects(ran("typescript/bin/tsc", ["--project", config]), (error: { stdout: string }) => {
    assert.match(error.stdout, /wrong\.mts\(3,.*"a day"/);
    assert.match(error.stdout, /wrong\.mts\(4,.*Fingerprint/s);
    return true;
  });
});

/** Uses every module, each with its types. */
const CONSUMER = `
  import { createIdempotency, fingerprintOf, type Decision, type Idempotency, type Store } from "idemp";
  import * as slim from "idemp/slim";
  import * as csp from "idemp/csp";
  import { memoryStore } from "idemp/memory";
  import { singleTabLocalStorage } from "idemp/local-storage";
  import { indexedDbStore } from "idemp/indexeddb";
  import { sqliteStore, type SqliteStore } from "idemp/sqlite";
  import { redisStore, type RedisClient } from "idemp/redis";
  import { postgresStore, within, type PostgresClient, type PostgresTransaction } from "idemp/postgres";
  import { createClient, type Client } from "idemp/fetch";
  import { useOnce } from "idemp/react";
  import * as testing from "idemp/testing";
  import { Hono } from "hono";
  import { idempotent as onRoutes } from "idemp/hono";
  import { executionOf, idempotent, UNAUTHENTICATED } from "idemp/web";
  import type { IdempEvent } from "idemp/events";

  export async function decide(idem: Idempotency): Promise<string> {
    const decision: Decision = await idem.begin(["acme"], "key", fingerprintOf({ a: 1 }));
    switch (decision.type) {
      case "miss":
        await decision.lease.finish(new Uint8Array());
        return "";
      case "hit":
        return String(decision.replay.remaining);
      case "in-progress":
        return String(decision.other.remaining);
      case "conflict":
      case "unknown":
      case "expired":
        return decision.type;
      default: {
        const none: never = decision;
        return none;
      }
    }
  }

  export const onDisk = (): SqliteStore => sqliteStore("idemp.db", { durability: "process", busyTimeout: "2s" });

  export const stores: Store[] = [memoryStore(), singleTabLocalStorage(), indexedDbStore()];
  // None of the clients is installed here.
  export const onServers = (redis: RedisClient, postgres: PostgresClient): Store[] => [redisStore(redis), postgresStore(postgres)];
  export const inside = (idem: Idempotency, postgres: PostgresClient, tx: PostgresTransaction): Idempotency =>
    within(idem, postgresStore(postgres).withTransaction(tx));
  export const made: Idempotency[] = [createIdempotency, slim.createIdempotency, csp.createIdempotency].map(
    (create) => create({ store: memoryStore(), retention: "24h" }),
  );
  export const client: Client = createClient({ user: "ada" });

  export function useAnalysis(file: string): string | undefined {
    const once = useOnce<{ taskId: string }>(["analysis", file], {
      client,
      payload: { file },
      work: async ({ key, fetch }) => (await fetch("/api/" + key)).json() as Promise<{ taskId: string }>,
    });
    return once.status === "success" ? once.data?.taskId : undefined;
  }

  const once = idempotent(made[0]!, { scope: async (request) => request.headers.get("x-user") ?? UNAUTHENTICATED });
  export const POST = once(async (request: Request, { params }: { params: { id: string } }) => {
    const fence: bigint | undefined = executionOf(request)?.fence;
    return Response.json({ id: params.id, fence: String(fence) });
  });
  export const answer: Promise<Response> = POST(new Request("/"), { params: { id: "7" } });

  type App = { Variables: { user: { id: string } } };
  export const app = new Hono<App>().post("/tasks", onRoutes<App>(made[0]!, { scope: (c) => c.get("user").id }), (c) =>
    c.json({ attempt: c.get("idempotency")?.attempt ?? 1, user: c.var.user.id }),
  );

  export { testing };

  export function left(event: IdempEvent): number {
    return event.kind === "IN_PROGRESS" ? event.remaining : (event.durationMs ?? 0);
  }
`;

/** Runs a tool of the workspace; what it says is in the error where it complains. */
async function ran(tool: string, words: readonly string[]): Promise<string> {
  const program = join(ROOT, "node_modules", tool);
  const { stdout } = await promisify(execFile)(process.execPath, [program, ...words], {
    ...{ cwd: consumer.folder, env: { ...process.env, NO_COLOR: "1" } },
  }).catch((error: { stdout?: string; stderr?: string; message: string }) => {
    error.message += `\n${error.stdout ?? ""}${error.stderr ?? ""}`;
    throw error;
  });
  return stdout;
}
