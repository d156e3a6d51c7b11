/** The business row and the outcome: together, or not at all. */
import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { createInterface } from "node:readline";
import { after, before, describe, test } from "node:test";
import { fileURLToPath } from "node:url";
import { type Idempotency, type Lease, StoreError, createIdempotency, fingerprintOf } from "idemp";
import { PostgresFault, type PostgresStore, type PostgresStoreOptions, postgresStore, within } from "idemp/postgres";
import pg from "pg";
import { type Servers, startServers } from "../servers.js";
import { until } from "./asks.js";
import { CLIENTS, type Connected } from "./postgres-clients.js";

let servers: Servers;
let admin: pg.Pool;
before(async () => {
  servers = await startServers("postgres");
  admin = new pg.Pool({ connectionString: servers.url("postgres") });
});
after(async () => {
  await admin?.end();
  await servers?.stop();
});

const REQUEST = fingerprintOf({ item: "a bicycle" });
const SCOPE = ["tenant-1", "POST /orders"];

/** A store, and a table of orders beside it. */
class Shop {
  private static count = 0;
  readonly table = `shop_${Shop.count++}`;
  readonly store: PostgresStore;
  readonly idem: Idempotency;

  private constructor(
    private readonly connected: Connected,
    options: PostgresStoreOptions,
  ) {
    this.store = postgresStore(connected.client, { table: this.table, lockWait: "4s", ...options });
    this.idem = createIdempotency({ store: this.store });
  }

  static async open(connected: Connected, options: PostgresStoreOptions = {}): Promise<Shop> {
    const shop = new Shop(connected, options);
    await shop.store.migrate();
    await admin.query(`CREATE TABLE ${shop.table}_orders (id bigint)`);
    return shop;
  }

  /** Works in a transaction: with the idempotency in there, and a way to order. */
  within<T>(work: (inside: Idempotency, order: () => Promise<void>) => Promise<T>, isolation?: string): Promise<T> {
    return this.connected.transaction(
      (tx, run) =>
        work(within(this.idem, this.store.withTransaction(tx)), async () => {
          await run(`INSERT INTO ${this.table}_orders VALUES (1)`);
        }),
      isolation,
    );
  }

  async orders(): Promise<number> {
    return (await admin.query(`SELECT count(*)::int AS orders FROM ${this.table}_orders`)).rows[0].orders;
  }

  begin(key: string, inside = this.idem) {
    return inside.begin(SCOPE, key, REQUEST);
  }

  async miss(key: string, inside = this.idem): Promise<Lease> {
    const decision = await this.begin(key, inside);
    assert.equal(decision.type, "miss");
    return (decision as Extract<typeof decision, { type: "miss" }>).lease;
  }

  async waits(): Promise<void> {
    const waiting = `SELECT count(*)::int AS waiting FROM pg_stat_activity
      WHERE wait_event_type = 'Lock' AND query LIKE '%"${this.table}_%'`;
    await until("somebody waits", async () => (await admin.query(waiting)).rows[0].waiting > 0);
  }
}

const RolledBack = class extends Error {};
const rolledBack = (error: unknown) => error instanceof RolledBack;

for (const [label, connect] of Object.entries(CLIENTS)) {
  describe(label, () => {
    let connected: Connected;
    let another: Connected;
    before(async () => {
      [connected, another] = await Promise.all([connect(servers.url("postgres")), connect(servers.url("postgres"))]);
    });
    after(() => Promise.all([connected?.end(), another?.end()]));

    test("the order and its outcome are committed together", async () => {
      const shop = await Shop.open(connected);
      for (const commits of [false, true]) {
        const worked = shop.within(async (inside, order) => {
          const lease = await shop.miss("k", inside);
          assert.equal(lease.attempt, 1, "a rollback leaves no attempt behind");
          await order();
          assert.equal((await lease.finish(Buffer.from("order 1"))).type, "ended");
          // In there it is done already.
          assert.equal((await shop.begin("k", inside)).type, "hit");
          if (!commits) throw new RolledBack();
        });
        if (commits) {
          await worked;
        } else {
          await assert.rejects(worked, rolledBack);
          assert.equal(await shop.orders(), 0);
          assert.equal(await shop.idem.peek(SCOPE, "k"), undefined);
        }
      }
      assert.equal(await shop.orders(), 1);
      const hit = await shop.begin("k");
      assert.ok(hit.type === "hit" && Buffer.from(hit.replay.outcome).toString() === "order 1");
    });

    test("a duplicate waits for the transaction and gets what became of it", async () => {
      const shop = await Shop.open(connected);
      for (const commits of [true, false]) {
        const key = commits ? "committed" : "rolled back";
        let duplicate: Promise<string> | undefined;
        const first = shop.within(async (first) => {
          const lease = await shop.miss(key, first);
          duplicate = another.transaction(async (tx) => {
            const decision = await shop.begin(key, within(shop.idem, shop.store.withTransaction(tx)));
            if (decision.type === "miss") throw new RolledBack();
            return decision.type;
          }).catch((error: unknown) => (rolledBack(error) ? "miss" : Promise.reject(error)));
          await shop.waits();
          await lease.finish(Buffer.from("outcome"));
          if (!commits) throw new RolledBack();
        });
        if (commits) await first;
        else await assert.rejects(first, rolledBack);
        assert.equal(await duplicate, commits ? "hit" : "miss");
      }
    });

    test("a duplicate that waited long enough is in progress, and its transaction can go on", async () => {
      const shop = await Shop.open(connected);
      const short = postgresStore(another.client, { table: shop.table, lockWait: "100ms" });
      const duplicate = createIdempotency({ store: short });
      await shop.within(async (holds) => {
        await shop.miss("k", holds);
        // Outside of a transaction.
        const started = performance.now();
        const outside = await shop.begin("k", duplicate);
        assert.deepEqual(outside, { type: "in-progress", other: { remaining: 0, published: undefined } });
        assert.ok(performance.now() - started < 3_000);
        await another.transaction(async (tx, run) => {
          await run("SET LOCAL lock_timeout = '7s'");
          await run(`INSERT INTO ${shop.table}_orders VALUES (1)`);
          const inside = within(duplicate, short.withTransaction(tx));
          assert.equal((await shop.begin("k", inside)).type, "in-progress");
          // Nothing of the transaction is lost, and its settings are its own again.
          for (const [setting, value] of [["lock_timeout", "7s"], ["idemp.tenant", ""]]) {
            const shown = JSON.stringify(await run(`SELECT 'is ' || current_setting('${setting}') AS shown`));
            // A client may read it as something else.
            assert.ok(shown.includes(`is ${value}"`) || shown.includes("something else"), shown);
          }
          await run(`INSERT INTO ${shop.table}_orders VALUES (1)`);
        });
      });
      assert.equal(await shop.orders(), 2);
    });

    test("to its owner a record that is held is an error that may be repeated", async () => {
      const shop = await Shop.open(connected, { lockWait: "100ms" });
      const lease = await shop.miss("k");
      await another.transaction(async (_, run) => {
        await run(`SELECT set_config('idemp.tenant', 'tenant-1', true)`);
        await run(`SELECT 1 AS one FROM ${shop.table} FOR UPDATE`);
        const error = await lease.finish(Buffer.from("outcome")).then(() => assert.fail("it was told"), (error: unknown) => error);
        assert.ok(error instanceof StoreError && error.code === "STORE_UNAVAILABLE" && error.retryable);
        assert.equal((error.cause as PostgresFault).sqlState, "55P03");
      });
      assert.equal((await lease.finish(Buffer.from("outcome"))).type, "ended");
    });

    test("of many duplicates one places the order", async () => {
      const shop = await Shop.open(connected);
      for (let round = 0; round < 5; round++) {
        const callers = Array.from({ length: label === "Client of pg" ? 1 : 8 }, () =>
          shop.within(async (inside, order) => {
            const decision = await shop.begin(`key-${round}`, inside);
            if (decision.type === "hit") return 0;
            assert.equal(decision.type, "miss");
            await order();
            if (decision.type === "miss") await decision.lease.finish(Buffer.from("ordered"));
            return 1;
          }),
        );
        const placed: number[] = await Promise.all(callers);
        assert.equal(placed.reduce((sum, one) => sum + one), 1, `round ${round}`);
      }
      assert.equal(await shop.orders(), 5);
    });

    test("a lease of before can be finished in a transaction, unless somebody took over", async () => {
      const shop = await Shop.open(connected);
      const lease = await shop.miss("k");
      await shop.within(async (inside, order) => {
        await order();
        assert.equal((await inside.resume(lease.token).finish(Buffer.from("outcome"))).type, "ended");
        // Until the commit nobody sees it.
        assert.equal((await another.transaction(async (tx) =>
          (await within(shop.idem, shop.store.withTransaction(tx)).peek(SCOPE, "k"))?.state)), "in-progress");
      });
      assert.equal((await shop.begin("k")).type, "hit");
      const short = createIdempotency({ store: shop.store, lease: "1ms" });
      const late = await shop.miss("l", short);
      await until("it lapses", async () => (await shop.begin("l")).type === "miss");
      await shop.within(async (inside) => {
        assert.deepEqual(await inside.resume(late.token).finish(Buffer.from("late")), { type: "stale", winner: undefined });
      });
    });

    test("a transaction with an older snapshot is told to begin again", async () => {
      const shop = await Shop.open(connected);
      for (const level of ["REPEATABLE READ", "SERIALIZABLE"]) {
        const failed = another.transaction(async (tx, run) => {
          await run("SELECT 1 AS one"); // takes the snapshot
          await (await shop.miss(level)).finish(Buffer.from("outcome"));
          const inside = within(shop.idem, shop.store.withTransaction(tx));
          const error = await shop.begin(level, inside).then(() => assert.fail("it was told"), (error: unknown) => error);
          // What is asked after an error has the same error.
          await assert.rejects(shop.begin("another", inside), (again) => again === error);
          throw error;
        }, level);
        await assert.rejects(failed, (error: StoreError) =>
          error.code === "STORE_UNAVAILABLE" && error.retryable && (error.cause as PostgresFault | undefined)?.sqlState === "40001" || (error as { code?: string }).code === "40001");
        // And so it does.
        const told = await shop.within(async (inside) => (await shop.begin(level, inside)).type, level);
        assert.equal(told, "hit");
      }
    });

    test("a process that is killed before the commit leaves neither order nor outcome", async () => {
      for (const [moment, committed] of [["begun", false], ["finished", false], ["committed", true]] as const) {
        const shop = await Shop.open(connected);
        const program = fileURLToPath(new URL("killed.ts", import.meta.url));
        const child = spawn(process.execPath, ["--import", "tsx", program, label, servers.url("postgres"), shop.table], {
          stdio: ["pipe", "pipe", "inherit"],
        });
        // It goes on by one step for every line that it gets.
        for await (const line of createInterface(child.stdout)) {
          if (line === moment) break;
          child.stdin.write("\n");
        }
        const gone = new Promise((done) => child.once("exit", done));
        child.kill("SIGKILL");
        await gone;
        const told = await shop.within(async (inside, order) => {
          const decision = await shop.begin("k", inside);
          if (decision.type !== "miss") return decision.type;
          assert.equal(decision.lease.attempt, 1, moment);
          assert.equal(await shop.orders(), 0, moment);
          await order();
          await decision.lease.finish(Buffer.from("outcome"));
          return "miss";
        });
        assert.equal(told, committed ? "hit" : "miss", moment);
        assert.equal(await shop.orders(), 1, moment);
      }
    });
  });
}

test("what is no transaction is refused", async () => {
  const { client, end } = await CLIENTS["Pool of pg"](servers.url("postgres"));
  const js = await CLIENTS.postgres(servers.url("postgres"));
  const store = postgresStore(client);
  for (const transaction of [client, js.client, undefined, null, {}]) {
    assert.throws(() => store.withTransaction(transaction as never), { code: "STORE_UNUSABLE" });
  }
  await Promise.all([end(), js.end()]);
});
