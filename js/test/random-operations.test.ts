import assert from "node:assert/strict";
import { spawn, spawnSync } from "node:child_process";
import { createHash } from "node:crypto";
import { once } from "node:events";
import { fileURLToPath } from "node:url";
import { test } from "node:test";
import { CORE_NAMES, use } from "./cores.js";
import { operate } from "./random-operations.js";

const root = fileURLToPath(new URL("../..", import.meta.url));
const COUNT = 100_000;

for (const core of CORE_NAMES) {
  test(`${COUNT} random operations give what the native core gives: ${core}`, async () => {
    use(core);
    const questions: Buffer[] = [];
    const answers = createHash("sha256");
    const tally = operate(COUNT, 20_261_122, (question, bytes, answer) => {
      questions.push(framed(Buffer.concat([Buffer.of(question), bytes])));
      answers.update(framed(answer));
    });
    assert.equal(answers.digest("hex"), await native(Buffer.concat(questions)));
    // The walk has been everywhere.
    for (const place of ["miss", "hit", "conflict", "in-progress", "unknown", "expired", "RECORD_CORRUPT", "NOT_CANONICAL", "finish stale", "renew ceiling", "publish held", "forget ended", "resolve done", "peek released"]) {
      assert.ok(tally[place], `${place}: ${JSON.stringify(tally)}`);
    }
  });
}

/** The hash of what core answers natively. */
async function native(questions: Buffer): Promise<string> {
  const build = ["build", "--quiet", "--release", "-p", "idemp-wasm", "--example", "answers"];
  const built = spawnSync("cargo", build, { cwd: root, stdio: "inherit" });
  assert.equal(built.status, 0, "the native core does not build");
  const target = process.env["CARGO_TARGET_DIR"] ?? `${root}/target`;
  const core = spawn(`${target}/release/examples/answers`, { stdio: ["pipe", "pipe", "inherit"] });
  const hash = createHash("sha256");
  core.stdout.on("data", (chunk: Buffer) => hash.update(chunk));
  core.stdin.end(questions);
  const [status] = (await once(core, "close")) as [number];
  assert.equal(status, 0);
  return hash.digest("hex");
}

function framed(bytes: Uint8Array): Buffer {
  const length = Buffer.alloc(4);
  length.writeUInt32BE(bytes.length);
  return Buffer.concat([length, bytes]);
}
