import { MIGRATIONS } from "../../generated/migrations.js";
import { unusable } from "./fault.js";
import type { Inside } from "./link.js";
import type { Names } from "./options.js";

/** What the table's comment begins with; the version follows. */
const MARK = "idemp schema ";

/** The longest that one service waits for another that migrates, in milliseconds. */
const WITHIN = 60_000;

const LOCK = "SELECT pg_catalog.pg_advisory_xact_lock(pg_catalog.hashtextextended($1::text, 0))::text";
const FOUND =
  "SELECT (c IS NOT NULL)::text, pg_catalog.obj_description(c, 'pg_class') FROM pg_catalog.to_regclass($1::text) c";

/** Makes the table, or brings it up to date, inside a transaction. */
export async function migrate(inside: Inside, names: Names): Promise<void> {
  const one = (text: string, parameter: string) => inside.one({ text, name: undefined }, [parameter], 2 * WITHIN);
  const { table } = names;
  // One at a time, however long the others take; the second finds it done.
  await inside.run(`SET LOCAL lock_timeout = ${WITHIN}; SET LOCAL statement_timeout = ${WITHIN}`);
  await one(LOCK, `idemp migrate ${table}`);
  const [there, comment] = await one(FOUND, table);
  const version = there === "true" ? versionOf(comment) : 0;
  if (version === undefined) {
    throw unusable(`the table ${table} has no comment \`${MARK}N\`: it is not one of this library`);
  }
  if (version > MIGRATIONS.length) {
    throw unusable(`the table ${table} has schema ${version}, this build knows up to ${MIGRATIONS.length}; update it`);
  }
  for (const text of MIGRATIONS.slice(version)) await inside.run(names.putInto(text));
}

function versionOf(comment: string | null | undefined): number | undefined {
  const [, version] = /^idemp schema +(\d{1,9})\s*$/.exec(comment ?? "") ?? [];
  return version === undefined ? undefined : Number(version);
}
