// The story that `cargo xtask demo` plays with the service in Rust, told to the one in Express: real
// processes, killed and started again, on every store.
import assert from "node:assert/strict";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, suite, test } from "node:test";
import { type Servers, startServers } from "../servers.js";
import { Program, Service, type Call, type Reply } from "./program.js";

const ORDERS = "/api/video-tasks";
const TRACK = "/api/v1/track";
const ORDER = '{"prompt":"A lighthouse at dawn","duration":5}';
const KEY = "final-1769660861-8d3f";

let servers: Servers;
before(async () => {
  servers = await startServers("redis", "postgres");
});
after(() => servers.stop());

for (const kind of ["memory", "sqlite", "redis", "postgres"] as const) {
  const lasts = kind !== "memory";

  suite(`the video service in Express, its keys in ${kind}`, () => {
    let folder: string;
    let place: { store: string; tasks: string };
    let service: Service;
    before(async () => {
      folder = await mkdtemp(join(tmpdir(), "idemp-express-"));
      const store = {
        memory: () => "memory",
        sqlite: () => `sqlite:${join(folder, "keys.db")}`,
        redis: () => servers.url("redis"),
        postgres: () => servers.url("postgres"),
      }[kind]();
      place = { store, tasks: join(folder, "tasks.jsonl") };
      service = await Service.start(place);
    });
    after(async () => {
      assert.equal(await service.program.stop(), 0);
      await rm(folder, { recursive: true, force: true });
    });

    const order = (user: string, key: string, body = ORDER): Promise<Reply> =>
      service.send({ path: ORDERS, user, key, body });
    const track = (tenant: string): Promise<Reply> => service.send(tracking(tenant));
    const end = (id: unknown, how: string): Promise<Reply> => service.send({ path: `${TRACK}/${String(id)}/${how}` });
    const count = async (user: string) => (await service.send({ method: "GET", path: ORDERS, user })).json["count"];
    const restart = async () => {
      await service.program.kill();
      service = await Service.start(place);
    };

    test("the same request twice is one task, and the second answer is the first one", async () => {
      const first = await order("ada", KEY);
      assert.deepEqual([first.status, first.json["status"]], [201, "pending"]);
      assert.match(String(first.json["task_id"]), /^vt_[0-9a-f]{8}$/);
      assert.equal(first.headers.get("location"), `${ORDERS}/${String(first.json["task_id"])}`);
      assert.equal(first.headers.get("idempotent-replayed"), null);
      isReplay(await order("ada", KEY), first);
      const clothes = '{\n   "duration" : 5.0 ,\n   "prompt" : "A lighthouse \\u0061t dawn"\n}';
      isReplay(await order("ada", KEY, clothes), first);
      assert.equal(await count("ada"), 1);
    });

    test("another payload under the same key is refused, and changes nothing", async () => {
      const first = await order("bea", KEY);
      const refused = await order("bea", KEY, '{"prompt":"A lighthouse at dawn","duration":50}');
      assert.deepEqual([refused.status, refused.json["code"]], [409, "IDEMPOTENCY_KEY_CONFLICT"]);
      assert.deepEqual(Object.keys(refused.json), ["code", "message", "requestId", "details"]);
      assert.deepEqual(refused.json["details"], { idempotencyKey: "final-1769660861..." });
      assert.equal(refused.json["requestId"], refused.headers.get("x-request-id"));
      isReplay(await order("bea", KEY), first);
      assert.equal(await count("bea"), 1);
    });

    test("the key of one user says nothing to another", async () => {
      const [one, other] = [await order("cleo", KEY), await order("dora", KEY)];
      assert.deepEqual([one.status, other.status], [201, 201]);
      assert.notEqual(one.json["task_id"], other.json["task_id"]);
      const path = `${ORDERS}/${String(one.json["task_id"])}`;
      assert.equal((await service.send({ method: "GET", path, user: "dora" })).status, 404);
      assert.equal((await service.send({ method: "GET", path, user: "cleo" })).text, one.text);
    });

    if (lasts) {
      test("a service killed between the answer and the retry still replays it, and knows what is active", async () => {
        const first = await order("eve", "nocturne-176966");
        const active = await track("evergreen");
        await restart();
        isReplay(await order("eve", "nocturne-176966"), first);
        assert.equal(await count("eve"), 1);
        const joined = await track("evergreen");
        assert.deepEqual([joined.status, joined.json["task_id"]], [200, active.json["task_id"]]);
        const ended = await end(active.json["task_id"], "complete");
        assert.deepEqual([ended.status, ended.json["status"]], [200, "completed"]);
        const next = await track("evergreen");
        assert.equal(next.status, 201);
        assert.notEqual(next.json["task_id"], active.json["task_id"]);
      });

      test("a worker in another process ends what the service has started, and the file is free", async () => {
        const words = ["--tasks", place.tasks, "--takes", "0", "--once"];
        const [one, other] = [await track("works"), await track("works-too")];
        const worker = new Program("worker", words, { STORE: place.store });
        const said = new Set<string | undefined>();
        for (let line = await worker.line(); line !== undefined; line = await worker.line()) said.add(line);
        assert.equal(await worker.end(), 0, worker.log.join("\n"));
        for (const { json } of [one, other]) {
          assert.ok(said.has(`${String(json["task_id"])} completed`), [...said].join());
          const shown = await service.send({ method: "GET", path: `${TRACK}/${String(json["task_id"])}` });
          assert.equal(shown.json["status"], "completed");
        }
        const next = await track("works");
        assert.equal(next.status, 201);
        // The end of the first one took nothing from the second one.
        assert.equal((await end(one.json["task_id"], "complete")).status, 200);
        assert.equal((await end(one.json["task_id"], "cancel")).status, 409);
        assert.equal((await track("works")).json["task_id"], next.json["task_id"]);
      });

      test("a worker ends it while the service is gone, and the service knows when it is back", async () => {
        const active = await track("night-shift");
        await service.program.kill();
        const worker = new Program("worker", ["--tasks", place.tasks, "--takes", "0", "--once", "--fail"], {
          STORE: place.store,
        });
        assert.equal(await worker.end(), 0, worker.log.join("\n"));
        service = await Service.start(place);
        const shown = await service.send({ method: "GET", path: `${TRACK}/${String(active.json["task_id"])}` });
        assert.equal(shown.json["status"], "failed");
        assert.equal((await track("night-shift")).status, 201);
      });
    }

    test("where the house is full a replay is answered, and a refusal leaves its key free", async () => {
      const placed = [];
      for (const key of ["first", "second", "third"]) placed.push(await order("fay", key));
      assert.deepEqual(placed.map(({ status }) => status), [201, 201, 201]);
      const refused = await order("fay", "fourth");
      assert.deepEqual([refused.status, refused.json["code"]], [429, "TOO_MANY_ACTIVE_TASKS"]);
      assert.equal(refused.headers.get("retry-after"), "5");
      isReplay(await order("fay", "first"), placed[0] as Reply);
      const path = `${ORDERS}/${String(placed[1]?.json["task_id"])}/complete`;
      const completed = await service.send({ path, user: "fay" });
      assert.deepEqual([completed.status, completed.json["status"]], [200, "completed"]);
      // The key is not bound to the payload that was refused.
      const served = await order("fay", "fourth", '{"prompt":"A lighthouse","duration":6}');
      assert.equal(served.status, 201);
      assert.equal(served.headers.get("idempotent-replayed"), null);
      assert.equal((await order("fay", "fifth")).status, 429);
    });

    test("three requests at once for one file are one new analysis and two that join it", async () => {
      for (let round = 0; round < 10; round++) {
        const replies = await Promise.all([1, 2, 3].map(() => track(`trio-${round}`)));
        const [new_, joined] = [201, 200].map((status) => replies.filter((reply) => reply.status === status));
        assert.deepEqual([new_?.length, joined?.length], [1, 2], JSON.stringify(replies));
        const task_id = new_?.[0]?.json["task_id"];
        assert.equal(new_?.[0]?.json["message"], "Analysis started");
        for (const { json } of joined ?? []) {
          const message = "Analysis already in progress";
          assert.deepEqual(json, { task_id, status: "processing", message });
        }
      }
    });

    test("when it has ended, in whatever way, the next request starts a new one", async () => {
      const seen = new Set();
      for (const [how, status] of [["complete", "completed"], ["fail", "failed"], ["cancel", "cancelled"]] as const) {
        const started = await track("blue");
        const { task_id } = started.json;
        assert.equal(started.status, 201);
        assert.equal((await track("blue")).json["task_id"], task_id);
        for (const _ of [1, 2]) assert.deepEqual((await end(task_id, how)).json, { task_id, status });
        const other = await end(task_id, how === "cancel" ? "fail" : "cancel");
        assert.deepEqual([other.status, other.json["code"], other.json["details"]], [
          ...[409, "TASK_ALREADY_ENDED", { status }],
        ]);
        seen.add(task_id);
      }
      assert.equal(seen.size, 3);
    });

    test("requests that meet an end join the old analysis or share one new one", async () => {
      for (let round = 0; round < 10; round++) {
        const old = (await track("meets")).json["task_id"];
        const replies = await Promise.all([end(old, "complete"), ...[1, 2, 3, 4].map(() => track("meets"))]);
        assert.ok(replies.every(({ status }) => status < 300), JSON.stringify(replies));
        const others = replies.slice(1).filter(({ json }) => json["task_id"] !== old);
        assert.equal(others.filter(({ status }) => status === 201).length, others.length > 0 ? 1 : 0);
        assert.ok(new Set(others.map(({ json }) => json["task_id"])).size <= 1);
        await end((await track("meets")).json["task_id"], "cancel");
      }
    });

    test("fifty orders at once with one key are one task", async () => {
      const replies = await Promise.all(Array.from({ length: 50 }, () => order("gail", "burst-1769662077")));
      const created = replies.filter(({ status }) => status === 201);
      const executed = created.filter(({ headers }) => headers.get("idempotent-replayed") === null);
      assert.equal(executed.length, 1);
      for (const { text } of created) assert.equal(text, executed[0]?.text);
      const waiting = replies.filter(({ status }) => status !== 201);
      for (const { status, json, headers } of waiting) {
        assert.deepEqual([status, json["code"]], [409, "IDEMPOTENCY_IN_PROGRESS"]);
        assert.ok(Number(headers.get("retry-after")) >= 1);
      }
      isReplay(await order("gail", "burst-1769662077"), executed[0] as Reply);
      assert.equal(await count("gail"), 1);
    });
  });
}

function tracking(tenant_id: string): Call {
  const body = JSON.stringify({ tenant_id, video_filename: "lighthouse, final (2).mp4" });
  return { path: TRACK, body };
}

function isReplay(reply: Reply, first: Reply): void {
  assert.deepEqual([reply.status, reply.text], [first.status, first.text]);
  assert.equal(reply.headers.get("idempotent-replayed"), "true");
  for (const name of ["location", "content-type", "content-length"]) {
    assert.equal(reply.headers.get(name), first.headers.get(name), name);
  }
  assert.notEqual(reply.headers.get("x-request-id"), first.headers.get("x-request-id"));
}
