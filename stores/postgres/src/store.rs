//! [`PostgresStore`]: one statement a question.

use std::fmt;
use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use deadpool_postgres::{Object, Pool};
use idemp::{AsyncStore, StoreError, Swap, Swapped};
use tokio_postgres::types::{ToSql, Type};
use tokio_postgres::{Error, Row};

use crate::ask::{
    Ask, answer, claim_types, claimed, types, types_locking, types_putting, types_within,
};
use crate::error::{meaning, without_connection};
use crate::names::Names;
use crate::options::{Commit, PostgresOptions};
use crate::prepared::Prepared;
use crate::sql;

/// Idempotency keys in a table of PostgreSQL. Cheap to clone: clones share their connections.
///
/// Every question is one statement and one trip; a connection that asks one of the two kinds, a
/// claim or any other, for the first time takes one more, to prepare it. The server's clock decides.
/// See the crate's page for roles, row level security and migrations.
#[derive(Clone)]
pub struct PostgresStore {
    shared: Arc<Shared>,
}

struct Shared {
    pool: Pool,
    names: Names,
    claim: Prepared,
    swap: Prepared,
    swap_within: Prepared,
    lock_within: Prepared,
    put_within: Prepared,
    purge: Prepared,
    timeout: Duration,
    lock_wait: Duration,
    /// What a question says about its commit; none where its connection has said it.
    commit: Option<&'static str>,
    pooled_transactions: bool,
}

impl PostgresStore {
    /// The store at this address (`postgres://user@host/database`), with everything else as it is
    /// by default. It connects when it is first asked.
    ///
    /// # Errors
    /// [`StoreError::Unusable`] where the address is no connection string.
    pub fn open(url: &str) -> Result<Self, StoreError> {
        Self::options(url).open()
    }

    /// How to open the store at this address.
    pub fn options(url: &str) -> PostgresOptions {
        PostgresOptions::new(url)
    }

    /// The connections, for transactions of the caller's own: see [`PostgresStore::locking`].
    #[must_use]
    pub fn pool(&self) -> &Pool {
        &self.shared.pool
    }

    pub(crate) fn new(
        pool: Pool,
        names: Names,
        timeout: Duration,
        lock_wait: Duration,
        commit: Commit,
        pooled_transactions: bool,
    ) -> Self {
        let shared = Shared {
            claim: Prepared::new(statement(&names, sql::CLAIM), claim_types()),
            swap: Prepared::new(statement(&names, sql::SWAP), types()),
            swap_within: Prepared::new(statement(&names, sql::SWAP_WITHIN), types_within()),
            lock_within: Prepared::new(statement(&names, sql::LOCK_WITHIN), types_locking()),
            put_within: Prepared::new(statement(&names, sql::PUT_WITHIN), types_putting()),
            purge: Prepared::new(statement(&names, sql::PURGE), vec![Type::INT8]),
            pool,
            names,
            timeout,
            lock_wait,
            commit: match commit {
                Commit::Durable => Some("on"), // whatever the connection was told since
                Commit::Relaxed => pooled_transactions.then_some("off"),
            },
            pooled_transactions,
        };
        Self {
            shared: Arc::new(shared),
        }
    }

    pub(crate) fn names(&self) -> &Names {
        &self.shared.names
    }

    pub(crate) fn swap_within(&self) -> &Prepared {
        &self.shared.swap_within
    }

    pub(crate) fn lock_within(&self) -> &Prepared {
        &self.shared.lock_within
    }

    pub(crate) fn put_within(&self) -> &Prepared {
        &self.shared.put_within
    }

    /// Whether the next transaction may be on another connection of the server's.
    pub(crate) fn pooled_transactions(&self) -> bool {
        self.shared.pooled_transactions
    }

    pub(crate) fn purge_statement(&self) -> &Prepared {
        &self.shared.purge
    }

    pub(crate) fn timeout(&self) -> Duration {
        self.shared.timeout
    }

    pub(crate) fn lock_wait(&self) -> Duration {
        self.shared.lock_wait
    }

    pub(crate) async fn connection(&self) -> Result<Object, StoreError> {
        self.shared.pool.get().await.map_err(without_connection)
    }

    /// Asks on a connection of its own, within the timeout. A connection that did not answer in
    /// time is closed: what it still brings belongs to nobody.
    pub(crate) async fn ask(
        &self,
        statement: &Prepared,
        parameters: &[&(dyn ToSql + Sync)],
    ) -> Result<Row, StoreError> {
        let connection = self.connection().await?;
        // Where it is: it is large, and to wait for it would move it.
        let limit = self.shared.timeout;
        let row = within_time(limit, pin!(self.row(&connection, statement, parameters))).await;
        match row {
            Some(row) => row.map_err(|error| meaning(&error)),
            None => {
                drop(Object::take(connection));
                Err(StoreError::Timeout)
            }
        }
    }

    async fn row(
        &self,
        connection: &Object,
        statement: &Prepared,
        parameters: &[&(dyn ToSql + Sync)],
    ) -> Result<Row, Error> {
        if self.shared.pooled_transactions {
            let typed: Vec<_> = parameters
                .iter()
                .copied()
                .zip(statement.types().iter().cloned())
                .collect();
            return connection.query_typed_one(statement.text(), &typed).await;
        }
        let cache = &connection.statement_cache;
        let statement = statement.on(cache, connection).await?;
        connection.query_one(&statement, parameters).await
    }
}

impl AsyncStore for PostgresStore {
    async fn swap(&self, swap: &Swap) -> Result<Swapped, StoreError> {
        let ask = Ask::new(swap)?;
        let commit = &self.shared.commit;
        if ask.claims() {
            let claim = &self.shared.claim;
            let row = self.ask(claim, &ask.claim(commit)).await?;
            if let Some(swapped) = claimed(&row)? {
                return Ok(swapped);
            }
        }
        let swap = &self.shared.swap;
        let row = self.ask(swap, &ask.parameters(commit)).await?;
        answer(&row)?.ok_or(StoreError::Busy)
    }
}

/// What is sent: without the comments above it.
fn statement(names: &Names, file: &str) -> String {
    let lines = file.lines().filter(|line| !line.starts_with("--"));
    names.put_into(&lines.collect::<Vec<_>>().join(" "))
}

pub(crate) async fn within_time<F: Future>(limit: Duration, work: F) -> Option<F::Output> {
    tokio::time::timeout(limit, work).await.ok()
}

impl fmt::Debug for PostgresStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PostgresStore")
            .field("table", &self.shared.names.table())
            .finish_non_exhaustive()
    }
}
