/** The laws of a store, on every client of PostgreSQL. */
import { after, before, describe, test } from "node:test";
import { type PostgresStore, postgresStore } from "idemp/postgres";
import { type Room, type Subject, conformance } from "idemp/testing";
import pg from "pg";
import { type Servers, startServers } from "../servers.js";
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

for (const [name, connect] of Object.entries(CLIENTS)) {
  describe(name, () => {
    let all: Connected[];
    let lost: Connected;
    let turn = 0;
    before(async () => {
      all = await Promise.all([0, 1].map(() => connect(servers.url("postgres"))));
      lost = await CLIENTS["Pool of pg"]("postgres://idemp_app@127.0.0.1:1/idemp");
    });
    after(async () => {
      for (const { end } of [...all, lost]) await end();
    });
    const subject: Subject<PostgresStore> = {
      async open(room) {
        const store = postgresStore((all[turn++ % 2] as Connected).client, { table: room.name, timeout: "60s", lockWait: "30s" });
        await store.migrate();
        return store;
      },
      step: (room) => setClock(room),
      async purge(store) {
        for (let purged = 0; ; ) {
          const batch = await store.purge(100);
          purged += batch;
          if (batch < 100) return purged;
        }
      },
      outOfReach: (room) => postgresStore(lost.client, { table: room.name }),
      limits: { unbounded: true, cannotForget: true },
    };
    for (const law of conformance(subject)) test(law.name, law.hold);
  });
}

/** The clock is a function in the database: all who use the table see it. */
async function setClock({ name, offset }: Room) {
  await admin.query(
    `CREATE OR REPLACE FUNCTION "public"."${name}_now"() RETURNS timestamptz LANGUAGE sql VOLATILE AS
     $$ SELECT clock_timestamp() + '${offset}ms'::interval $$`,
  );
}
