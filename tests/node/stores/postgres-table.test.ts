/** The table: the shared vectors, both languages on it, migrations, tenants, and who may not. */
import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";
import { createIdempotency, slotKey } from "idemp";
import { PostgresFault, type PostgresStore, postgresStore } from "idemp/postgres";
import pg from "pg";
import { type Servers, startServers } from "../servers.js";
import { claim, failure, lies, outcome, read, until, wins } from "./asks.js";
import { isHandedOver } from "./handed-over.js";
import { CLIENTS, type Connected, pool } from "./postgres-clients.js";
import { type Case, vectors } from "./vectors.js";

let servers: Servers;
/** Row level security does not hold for it. */
let superuser: pg.Pool;
let owner: pg.Pool;
before(async () => {
  servers = await startServers("postgres");
  const url = new URL(servers.url("postgres"));
  [url.username, url.password] = ["postgres", ""];
  superuser = new pg.Pool({ connectionString: url.href });
  owner = new pg.Pool({ connectionString: servers.url("postgres") });
});
after(async () => {
  await Promise.all([superuser?.end(), owner?.end()]);
  await servers?.stop();
});

const bytes = (value: Buffer) => new Uint8Array(value);

/** A time as SQL. */
const at = (millis: number) => `('epoch'::timestamptz + '${millis}ms'::interval)`;

/** Sets the clock of a table, and what lies in it. */
async function arrange(table: string, { slot, now, swap }: Case) {
  await superuser.query(
    `TRUNCATE ${table};
     CREATE OR REPLACE FUNCTION ${table}_now() RETURNS timestamptz LANGUAGE sql VOLATILE AS $$ SELECT ${at(now)} $$`,
  );
  if (!slot) return;
  const full = Buffer.from(swap.slot, "hex");
  const end = 3 + full.readUInt16BE(1);
  const key = Buffer.concat([full.subarray(0, 1), full.subarray(end)]);
  await superuser.query(
    `INSERT INTO ${table} (tenant, key, rev, lease_until, gone_at, purge_after, head, body)
     VALUES ($1, $2, $3, ${at(slot.leaseUntil)}, ${at(slot.goneAt)}, ${at(slot.goneAt)}, $4, $5)`,
    [full.toString("utf8", 3, end), key, Buffer.from(slot.rev, "hex"), slot.head, slot.body],
  );
}

async function liesIn(table: string) {
  const { rows } = await superuser.query(`SELECT rev, lease_until, gone_at, head, body FROM ${table}`);
  assert.ok(rows.length <= 1);
  const [row] = rows;
  if (!row) return undefined;
  const { rev, lease_until, gone_at, head, body } = row;
  return { rev: rev.toString("hex"), leaseUntil: lease_until.getTime(), goneAt: gone_at.getTime(), head: bytes(head), body: bytes(body) };
}

let tables = 0;

const { "Pool of pg": onPool, postgres } = CLIENTS;

for (const [label, connect] of Object.entries({ "Pool of pg": onPool, postgres })) {
  describe(`${label} by the vectors`, () => {
    let connected: Connected;
    before(async () => {
      connected = await connect(servers.url("postgres"));
    });
    after(() => connected?.end());

    async function migrated() {
      const table = `keys_${tables++}`;
      const store = postgresStore(connected.client, { table });
      await store.migrate();
      return { table, store };
    }

    test("the store answers every vector as `apply` does, to the millisecond", async () => {
      const { table, store } = await migrated();
      const cases = vectors();
      assert.ok(cases.length >= 240);
      for (const one of cases) {
        await arrange(table, one);
        assert.deepEqual(await store.swap(one.swap), one.reply, one.name);
        assert.deepEqual(await liesIn(table), one.after, one.name);
      }
    });

    test("inside a transaction it answers the same, and a rollback leaves nothing", async () => {
      const { table, store } = await migrated();
      const rollback = new Error("rolled back");
      for (const one of vectors()) {
        await arrange(table, one);
        for (const commits of [false, true]) {
          const worked = connected.transaction(async (tx) => {
            assert.deepEqual(await store.withTransaction(tx).swap(one.swap), one.reply, one.name);
            if (!commits) throw rollback;
          });
          await (commits ? worked : assert.rejects(worked, (error) => error === rollback));
          assert.deepEqual(await liesIn(table), commits ? one.after : one.slot, one.name);
        }
      }
    });
  });
}

for (const [label, connect] of Object.entries(CLIENTS)) {
  describe(label, () => {
    let connected: Connected;
    before(async () => {
      connected = await connect(servers.url("postgres"));
    });
    after(() => connected?.end());

    async function fresh(options = {}): Promise<{ table: string; store: PostgresStore }> {
      const table = `keys_${tables++}`;
      const store = postgresStore(connected.client, { table, ...options });
      await store.migrate();
      return { table, store };
    }

    test("spans of months and of ages are kept to the millisecond", async () => {
      const { store } = await fresh();
      const [months, most] = [90 * 86_400_000 + 7, 100_000 * 365 * 86_400_000];
      for (const [keepFor, kept] of [[months, months], [most - 1, most - 1], [Number.MAX_SAFE_INTEGER, most]] as const) {
        const key = `for-${keepFor}`;
        const now = await wins(store, claim(key, { keepFor }));
        assert.equal((await lies(store, key))?.goneAt, now + kept);
      }
    });

    test("a commit waits for the disk whatever the connection says, unless it is relaxed", async () => {
      const shown = `CREATE OR REPLACE FUNCTION KEYS_seen() RETURNS trigger LANGUAGE plpgsql AS
        $$ BEGIN INSERT INTO KEYS_commits VALUES (current_setting('synchronous_commit'), current_setting('lock_timeout')); RETURN NULL; END $$`;
      for (const [commit, expected] of [["durable", "on"], ["relaxed", "off"]] as const) {
        const { table, store } = await fresh({ commit, lockWait: "1234ms" });
        const named = (sql: string) => sql.replaceAll("KEYS", table);
        await owner.query(named("CREATE TABLE KEYS_commits (synchronous_commit text, lock_timeout text)"));
        await owner.query(named(shown));
        await owner.query(named("CREATE TRIGGER seen AFTER INSERT OR UPDATE ON KEYS FOR EACH ROW EXECUTE FUNCTION KEYS_seen()"));
        const begun = claim("a");
        await wins(store, begun);
        await wins(store, outcome(begun, "done"));
        const { rows } = await owner.query(named("SELECT DISTINCT * FROM KEYS_commits"));
        const seen = { synchronous_commit: expected, lock_timeout: "1234ms" };
        assert.deepEqual(rows, [seen]);
      }
    });

    test("a lease begun in one language is finished in the other", async () => {
      const url = await servers.database(`both_${tables++}`);
      const there = await connect(url);
      const store = postgresStore(there.client);
      await store.migrate();
      await isHandedOver(url, createIdempotency({ store }));
      await there.end();
    });

    test("through a pooler of transactions nothing is prepared for the next question", async () => {
      const { store } = await fresh({ pooledTransactions: true });
      const begun = claim("a");
      await wins(store, begun);
      await wins(store, outcome(begun, "done"));
      assert.ok(await lies(store, "a"));
      const run = await connected.transaction(async (_, run) => JSON.stringify(await run("SELECT 'prepared: ' || count(*) AS shown FROM pg_prepared_statements WHERE statement LIKE '%keys_" + (tables - 1) + "_swap%'")));
      assert.ok(run.includes("prepared: 0") || run.includes("something else"), run);
    });

    test("a migration that is done is done once, by however many at a time", async () => {
      const table = `keys_${tables++}`;
      const stores = Array.from({ length: label === "Client of pg" ? 1 : 5 }, () => postgresStore(connected.client, { table }));
      await Promise.all(stores.map((store) => store.migrate()));
      await stores[0]?.migrate();
      await wins(stores[0] as PostgresStore, claim("a"));
    });

    test("a table of somebody else's, and one that is newer, are refused", async () => {
      const { table, store } = await fresh();
      await owner.query(`COMMENT ON TABLE ${table} IS 'idemp schema 99'`);
      const newer = await failure(store.migrate());
      assert.equal(newer.code, "STORE_UNUSABLE");
      assert.match(newer.message, /schema 99.*update/);
      await owner.query(`COMMENT ON TABLE ${table} IS NULL`);
      assert.match((await failure(store.migrate())).message, /not one of this library/);
    });

    test("a table that is missing says what to do, and one in another schema is found", async () => {
      const missing = postgresStore(connected.client, { table: "nowhere" });
      for (const swap of [claim("a"), read("a"), outcome(claim("a"), "done")]) {
        const error = await failure(missing.swap(swap));
        assert.equal(error.code, "STORE_UNUSABLE");
        assert.match(error.message, /run `migrate`/);
      }
      await owner.query(`CREATE SCHEMA schema_${tables}`);
      const store = postgresStore(connected.client, { schema: `schema_${tables++}` });
      await store.migrate();
      await wins(store, claim("a"));
    });

    test("a session that cannot write is unusable, also for what only reads", async () => {
      const { table, store } = await fresh();
      await wins(store, claim("a"));
      await connected.transaction(async (tx) => {
        const inside = postgresStore(connected.client, { table }).withTransaction(tx);
        const error = await failure(Promise.resolve(inside.swap(read("a"))));
        assert.equal(error.code, "STORE_UNUSABLE");
        assert.match(error.message, /connect to the writer/);
        throw new Error("rolled back");
      }, "READ COMMITTED READ ONLY").catch((error: Error) => assert.match(error.message, /rolled back|need a server/));
    });

    test("a purge deletes what is gone, of all tenants, and nothing else", async () => {
      const { table, store } = await fresh();
      await wins(store, claim("kept"));
      const gone = ["tenant-1", "tenant-2"].map((tenant) => ({ ...claim("x", { leaseFor: 1, keepFor: 1 }), slot: slotKey([tenant], "gone") }));
      for (const swap of gone) await wins(store, swap);
      await until("they are gone", async () => {
        const { rows } = await superuser.query(`SELECT count(*)::int AS gone FROM ${table} WHERE gone_at <= ${table}_now()`);
        return rows[0].gone === 2;
      });
      assert.equal(await store.purge(1), 1);
      assert.equal(await store.purge(10), 1);
      assert.equal(await store.purge(10), 0);
      assert.ok(await lies(store, "kept"));
    });
  });
}

test("a role without rights on the table, or none at all, is told so, and nothing of what was asked", async () => {
  const { client, end } = await pool(servers.url("postgres"));
  await postgresStore(client, { table: "guarded" }).migrate();
  await end();
  await superuser.query("CREATE ROLE stranger LOGIN PASSWORD 'secret'; GRANT USAGE ON SCHEMA public TO stranger");
  const url = new URL(servers.url("postgres"));
  [url.username, url.password] = ["stranger", "secret"];
  for (const connect of [CLIENTS["Pool of pg"], CLIENTS.postgres]) {
    const stranger = await connect(url.href);
    for (const swap of [claim("a key"), outcome(claim("a key"), "a body")]) {
      const error = await failure(postgresStore(stranger.client, { table: "guarded" }).swap(swap));
      assert.equal(error.code, "STORE_UNUSABLE");
      assert.equal((error.cause as PostgresFault).sqlState, "42501");
      const shown = `${error} ${error.stack} ${JSON.stringify(error)} ${error.cause} ${JSON.stringify(error.cause)}`;
      assert.doesNotMatch(shown, /a key|a body/);
      assert.doesNotMatch(shown, new RegExp(Buffer.from("a key").toString("hex")));
    }
    await stranger.end();
    url.pathname = "/no_such_database";
    const nowhere = await connect(url.href);
    assert.equal((await failure(postgresStore(nowhere.client).swap(read("a")))).code, "STORE_UNUSABLE");
    await nowhere.end();
    url.pathname = "/idemp";
  }
});

test("a question sees the rows of its tenant, and leaves its session without one", async () => {
  const clients = new pg.Pool({ connectionString: servers.url("postgres"), max: 1 });
  const store = postgresStore(clients, { table: "tenants" });
  await store.migrate();
  const [one, two] = [["tenant-1"], ["tenant-2"]].map((scope) => ({ ...claim("x"), slot: slotKey(scope, "k") }));
  await wins(store, one as ReturnType<typeof claim>);
  await wins(store, two as ReturnType<typeof claim>);
  assert.deepEqual((await clients.query("SELECT count(*)::int AS seen FROM tenants")).rows, [{ seen: 0 }]);
  await clients.query("BEGIN; SET LOCAL idemp.tenant = 'tenant-1'");
  assert.deepEqual((await clients.query("SELECT tenant FROM tenants")).rows, [{ tenant: "tenant-1" }]);
  await clients.query("COMMIT");
  // Nor with a setting of its own.
  const settings = "SELECT current_setting('lock_timeout') AS waits, current_setting('idemp.tenant', true) AS tenant";
  assert.deepEqual((await clients.query(settings)).rows, [{ waits: "0", tenant: "" }]);
  await clients.end();
});

test("old bytea output is refused by name, and never misread", async () => {
  const { client, end } = await pool(servers.url("postgres"), { options: "-c bytea_output=escape" });
  const store = postgresStore(client, { table: "escaped" });
  await store.migrate();
  // Whether it was won, lost to nothing, or lost to a record: no form of the answer is guessed at.
  for (const swap of [claim("a"), claim("a"), read("b")]) {
    const error = await failure(store.swap(swap));
    assert.equal(error.code, "STORE_UNUSABLE");
    assert.match(error.message, /bytea_output/);
  }
  await end();
});

test("names and spans out of their range, and what is no client, are refused before anything is asked", () => {
  for (const options of [
    ...["", "Keys", "1keys", "ke-ys", 'k"; drop', "k.k", "ключ", "a".repeat(49)].map((table) => ({ table })),
    ...[{ schema: "pu blic" }, { timeout: "2h" }, { timeout: "1s", lockWait: "2s" }, { commit: "often" }],
  ]) {
    assert.throws(() => postgresStore(owner, options as never), { code: "STORE_UNUSABLE" });
  }
  postgresStore(owner, { schema: "_a1", table: "a".repeat(48) });
  for (const options of [{ timeout: 0 }, { lockWait: -1 }]) assert.throws(() => postgresStore(owner, options), { code: "SPAN_INVALID" });
  for (const client of [undefined, null, {}, "postgres://localhost/"]) {
    assert.throws(() => postgresStore(client as never), { code: "STORE_UNUSABLE", message: /no client that is known/ });
  }
});
