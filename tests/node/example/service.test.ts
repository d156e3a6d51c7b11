// The service in Express as a whole: what every answer has, what it refuses, how it starts and ends.
import assert from "node:assert/strict";
import { mkdtemp, rm } from "node:fs/promises";
import { request as ask } from "node:http";
import { createServer, type AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { once } from "node:events";
import { after, before, test } from "node:test";
import { Program, Service, type Call, type Reply } from "./program.js";

const ORDERS = "/api/video-tasks";
const TRACK = "/api/v1/track";
const ORDER = '{"prompt":"A lighthouse","duration":5}';

let folder: string;
let service: Service;
before(async () => {
  folder = await mkdtemp(join(tmpdir(), "idemp-express-"));
  service = await Service.start(place("service"));
});
after(async () => {
  await service.program.stop();
  await rm(folder, { recursive: true, force: true });
});

const place = (name: string) => ({
  store: `sqlite:${join(folder, `${name}.db`)}`,
  tasks: join(folder, `${name}.jsonl`),
});
const order = (key: string, body: unknown, more: Partial<Call> = {}): Promise<Reply> =>
  service.send({ path: ORDERS, user: "alice", key, body: text(body), ...more });
const track = (body: unknown, more: Partial<Call> = {}): Promise<Reply> =>
  service.send({ path: TRACK, body: text(body), ...more });
const text = (body: unknown) => (typeof body === "string" ? body : JSON.stringify(body));

function isProblem(reply: Reply, status: number, code: string): void {
  assert.deepEqual([reply.status, reply.json["code"]], [status, code], reply.text);
  assert.deepEqual(Object.keys(reply.json), ["code", "message", "requestId", "details"]);
  assert.equal(reply.json["requestId"], reply.headers.get("x-request-id"));
  assert.equal(reply.headers.get("cache-control"), "no-store");
}

test("every answer names its request, and an id that came along is kept", async () => {
  const calls: Call[] = [
    { method: "GET", path: "/healthz" },
    { method: "GET", path: "/nowhere" },
    { path: ORDERS, body: ORDER },
    { path: ORDERS, body: ORDER, user: "alice", key: "named" },
    { path: ORDERS, body: ORDER, user: "alice", key: "named" },
    { path: ORDERS, body: ORDER, user: "alice", key: "" },
    { path: TRACK, body: "{}" },
  ];
  const ids = new Set<string | null>();
  for (const call of calls) {
    const id = (await service.send(call)).headers.get("x-request-id");
    assert.match(String(id), /^req_[0-9a-f]{8}$/);
    ids.add(id);
    const named = await service.send({ ...call, headers: { "X-Request-Id": "trace-0af7" } });
    assert.equal(named.headers.get("x-request-id"), "trace-0af7");
    if (named.status >= 400) assert.equal(named.json["requestId"], "trace-0af7");
  }
  assert.equal(ids.size, calls.length);
  const odd = await service.send({ method: "GET", path: "/healthz", headers: { "X-Request-Id": "two words" } });
  assert.match(String(odd.headers.get("x-request-id")), /^req_/);
  assert.equal(odd.text, "ok\n");
});

test("what it does not have is told in the same shape", async () => {
  isProblem(await service.send({ method: "GET", path: "/nowhere" }), 404, "NOT_FOUND");
  isProblem(await service.send({ method: "GET", path: "/api/v1/track/%zz" }), 400, "INVALID_REQUEST");
  for (const [path, allow] of [["/healthz", "GET,HEAD"], [TRACK, "POST"], [ORDERS, "GET,HEAD,POST"]] as const) {
    const reply = await service.send({ method: "DELETE", path, user: "alice" });
    isProblem(reply, 405, "METHOD_NOT_ALLOWED");
    assert.equal(reply.headers.get("allow"), allow);
  }
  for (const end of ["complete", "explode"]) {
    isProblem(await service.send({ path: `${TRACK}/tr_00000000/${end}` }), 404, "NOT_FOUND");
  }
});

test("who is not known is refused before the key is looked up", async () => {
  await order("bearer", ORDER);
  const twice = ["Bearer alice", "Bearer bob"];
  const values = [[], ["alice"], ["Basic alice"], ["Bearer "], ["Bearer a b"], [`Bearer ${"a".repeat(65)}`], twice];
  for (const authorization of values) {
    // By hand: `fetch` joins two headers of a name.
    const status = await new Promise((found, failed) => {
      const { hostname, port } = new URL(service.origin);
      const own = { "content-type": "application/json", "idempotency-key": "bearer" };
      const headers = { ...own, authorization: authorization as unknown as string };
      const sent = ask({ hostname, port, method: "POST", path: ORDERS, headers }, (answer) => {
        answer.resume();
        found([answer.statusCode, answer.headers["www-authenticate"]]);
      });
      sent.on("error", failed);
      sent.end(ORDER);
    });
    assert.deepEqual(status, [401, "Bearer"], authorization.join());
  }
});

test("an order needs a key, and a proper one", async () => {
  isProblem(await service.send({ path: ORDERS, user: "alice", body: ORDER }), 400, "IDEMPOTENCY_KEY_MISSING");
  for (const key of ["", "a, b", "k".repeat(256)]) isProblem(await order(key, ORDER), 400, "IDEMPOTENCY_KEY_INVALID");
  const first = await order("quoted", ORDER, { user: "quentin" });
  const again = await order('"quoted"', ORDER, { user: "quentin" });
  assert.deepEqual([again.status, again.text], [201, first.text]);
});

test("an order that is none is refused by the name of its field, and its key stays free", async () => {
  const wrong: [unknown, string][] = [
    [{ duration: 5 }, "prompt"],
    [{ prompt: "", duration: 5 }, "prompt"],
    [{ prompt: "x".repeat(2001), duration: 5 }, "prompt"],
    [{ prompt: "a\0b", duration: 5 }, "prompt"],
    ['{"prompt":"\\ud800","duration":5}', "prompt"],
    [{ prompt: ["a"], duration: 5 }, "prompt"],
    [{ prompt: "a" }, "duration"],
    ...[0, 61, -5, 5.5, 1e300, "5"].map((duration): [unknown, string] => [{ prompt: "a", duration }, "duration"]),
    [{ prompt: "a", duration: 5, aspect_ratio: "4:3" }, "aspect_ratio"],
    [{ prompt: "a", duration: 5, aspect_ratio: null }, "aspect_ratio"],
  ];
  for (const [body, field] of wrong) {
    const reply = await order("wrong", body, { user: "wendy" });
    isProblem(reply, 400, "INVALID_REQUEST");
    assert.equal((reply.json["details"] as { field: string }).field, field, text(body));
  }
  for (const body of ['{"prompt":"a","duration":5,"durations":6}', "", "[]", "5", "{", "\ufeff{}"]) {
    isProblem(await order("wrong", body, { user: "wendy" }), 400, "INVALID_REQUEST");
  }
  const plain = { user: "wendy", headers: { "content-type": "text/plain" } };
  isProblem(await order("wrong", ORDER, plain), 415, "UNSUPPORTED_MEDIA_TYPE");
  const long = { prompt: "x".repeat(17 * 1024), duration: 5 };
  isProblem(await order("wrong", long, { user: "wendy" }), 413, "IDEMPOTENCY_BODY_TOO_LARGE");
  const list = await service.send({ method: "GET", path: ORDERS, user: "wendy" });
  assert.deepEqual(list.json, { count: 0, tasks: [] });
  assert.equal((await order("wrong", ORDER, { user: "wendy" })).status, 201);
});

test("what is no request for an analysis is refused, and odd names are kept apart", async () => {
  const file = "clip.mp4";
  for (const [body, field] of [
    [{ video_filename: file }, "tenant_id"],
    [{ tenant_id: "", video_filename: file }, "tenant_id"],
    [{ tenant_id: "a".repeat(65), video_filename: file }, "tenant_id"],
    [{ tenant_id: "acme" }, "video_filename"],
    [{ tenant_id: "acme", video_filename: "a\nb" }, "video_filename"],
  ] as const) {
    const reply = await track(body);
    isProblem(reply, 400, "INVALID_REQUEST");
    assert.equal((reply.json["details"] as { field: string }).field, field);
  }
  // 64 characters, and a byte too long for a part of a scope.
  isProblem(await track({ tenant_id: "😀".repeat(64), video_filename: "a" }), 400, "INVALID_REQUEST");
  isProblem(await track({ tenant_id: "acme", video_filename: "x".repeat(17 * 1024) }), 413, "BODY_TOO_LARGE");
  isProblem(await track("{}", { headers: { "content-type": "text/plain" } }), 415, "UNSUPPORTED_MEDIA_TYPE");
  const odd = [
    ...[["acme", "clip.mp4"], ["acme", "clip.mp4 "], ["acme", "CLIP.mp4"], ["acmeclip", ".mp4"]],
    ...[["acme", "../../etc/passwd"], ["acme", "\"quoted\", 'and' \u202eturned"], ["ácme", "clip.mp4"]],
    ["acme", "ü".repeat(1024)],
  ];
  const ids = new Set();
  for (const [tenant_id, video_filename] of odd) {
    const reply = await track({ tenant_id, video_filename });
    assert.equal(reply.status, 201, reply.text);
    ids.add(reply.json["task_id"]);
  }
  assert.equal(ids.size, odd.length);
});

test("a client that goes away does not stop its task: the retry is a replay", async () => {
  const { hostname, port } = new URL(service.origin);
  const headers = { authorization: "Bearer gone", "content-type": "application/json", "idempotency-key": "gone" };
  const sent = ask({ hostname, port, method: "POST", path: ORDERS, headers });
  sent.on("error", () => undefined);
  sent.end(ORDER);
  // Its task is there, and the call to the vendor is not over.
  const list = () => service.send({ method: "GET", path: ORDERS, user: "gone" });
  while ((await list()).json["count"] === 0);
  sent.destroy();
  let retry: Reply;
  do retry = await order("gone", ORDER, { user: "gone" });
  while (retry.status === 409);
  assert.deepEqual([retry.status, retry.headers.get("idempotent-replayed")], [201, "true"]);
  assert.equal((await list()).json["count"], 1);
});

test("the log tells the story in the known lines, and never the key", async () => {
  const user = "793ccc64-5717-4562-b3fc-2c963f66afa6";
  const own = await Service.start(place("log"), { IDEMPOTENCY_TTL_HOURS: "48" });
  const first = await own.send({ path: ORDERS, user, key: "final-1769660861-8d3f", body: ORDER });
  await own.send({ path: ORDERS, user, key: "final-1769660861-8d3f", body: ORDER });
  const other = '{"prompt":"a","duration":1}';
  await own.send({ path: ORDERS, user, key: "final-1769660861-8d3f", body: other });
  assert.equal(await own.program.stop(), 0);
  const task = String(first.json["task_id"]);
  const line = (word: string, rest = "") => `[IDEMP] ${word} user=793ccc64... key=final-17...${rest}`;
  assert.deepEqual(own.program.log, [
    ...[line("CHECK"), line("MISS"), line("STORE START", ` task=${task}`)],
    ...[line("STORED", ` → task=${task} (TTL=48h)`), line("CHECK"), line("HIT", ` → task=${task}`)],
    ...[line("CHECK"), line("CONFLICT", " payload mismatch")],
  ]);
});

test("it ends well on the signals of a terminal and of a supervisor", async () => {
  for (const signal of ["SIGINT", "SIGTERM"] as const) {
    const { program } = await Service.start(place(signal));
    program.child.kill(signal);
    assert.equal(await program.end(), 0, program.log.join("\n"));
  }
});

test("it takes the port that it is given, and refuses what it cannot use", async () => {
  const taken = createServer().listen(0, "127.0.0.1");
  await once(taken, "listening");
  const port = String((taken.address() as AddressInfo).port);
  const files = ["--store", "memory", "--tasks", join(folder, "port.jsonl")];
  const refused = new Program("service", [...files, "--port", port]);
  assert.equal(await refused.end(), 1);
  assert.match(refused.log.join("\n"), /^express-video-tasks: .*EADDRINUSE/);
  taken.close();
  await once(taken, "close");
  const given = new Program("service", [...files, "--stop-at-eof"], { PORT: port });
  assert.equal(await given.line(), `listening on http://127.0.0.1:${port}`);
  assert.equal(await given.stop(), 0);
  const misused: [string[], Record<string, string>][] = [
    [["--port", "99999"], {}],
    [["--port"], {}],
    [["--sport", "1"], {}],
    [["--store", "mongodb://x"], {}],
    [[], { PORT: "http" }],
    ...["0", "-1", "1.5", "a day"].map((hours): [string[], Record<string, string>] => [
      [],
      { IDEMPOTENCY_TTL_HOURS: hours },
    ]),
  ];
  const ends = await Promise.all(
    misused.map(async ([words, env]) => {
      const program = new Program("service", ["--tasks", join(folder, "misused.jsonl"), ...words], env);
      return [await program.end(), /usage: /.test(program.log.join("\n"))];
    }),
  );
  assert.deepEqual(ends, misused.map(() => [2, true]));
});

test("a worker has nothing to do in the memory of a service", async () => {
  const worker = new Program("worker", ["--store", "memory"]);
  assert.equal(await worker.end(), 2);
  assert.match(worker.log[0] ?? "", /choose another store/);
});
