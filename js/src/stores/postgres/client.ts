/**
 * The clients that a store works on, as far as it needs them: their own types fit, and neither has to
 * be installed for the types of the other.
 *
 * | client | is known by |
 * |---|---|
 * | `Pool` of pg | `query`, `connect`, and `totalCount` |
 * | `Client` of pg, or one that a pool gave | `query` |
 * | `postgres()` of postgres, or its transaction | `unsafe` and `typed` |
 */
export type PostgresClient = PgPool | PgClient | PostgresJs;

/** A `Pool` of `pg`, 8.11 or newer. */
export interface PgPool {
  connect(): Promise<PgClient & { release(destroy?: boolean): void }>;
  readonly totalCount: number;
  readonly query: unknown;
}

/** A `Client` of `pg`, connected, or one that a pool gave. */
export interface PgClient {
  query(config: { text: string; values: unknown[] }): Promise<unknown>;
}

/** What `postgres()` of `postgres` makes, 3.4 or newer, or the transaction that its `begin` gives. */
export interface PostgresJs {
  unsafe(text: string, parameters?: never[], options?: { prepare?: boolean }): unknown;
  typed(value: never, type: number): unknown;
}

/** A transaction of the caller's: a `Client` of `pg` in which it began, or what `begin` of `postgres`
 *  gives. */
export type PostgresTransaction = PgClient | PostgresJs;
