/** The HTTP cases on a PostgreSQL of their own. */
import { after, before } from "node:test";
import { postgresStore, type PostgresStore } from "idemp/postgres";
import pg from "pg";
import { type Servers, startServers } from "../servers.js";
import { runAll, runAlone } from "./run.js";

let servers: Servers;
let pool: pg.Pool;
let store: PostgresStore;

before(async () => {
  servers = await startServers("postgres");
  pool = new pg.Pool({ connectionString: servers.url("postgres") });
  store = postgresStore(pool);
  await store.migrate();
});
after(async () => {
  await pool.end();
  await servers.stop();
});

runAll(() => store);
runAlone(() => store);
