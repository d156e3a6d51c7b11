/** The store in one SQLite file: see {@link sqliteStore}. */
import "#core";

export { sqliteStore, type SqliteStore, type SqliteStoreOptions } from "../stores/sqlite.js";
