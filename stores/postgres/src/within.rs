//! [`Within`]: the store inside a transaction of the caller's.

use std::pin::pin;
use std::time::Duration;

use idemp::{AsyncStore, Expect, StoreError, Swap, Swapped};
use tokio_postgres::types::ToSql;
use tokio_postgres::{Error, Row};

use crate::ask::{Ask, answer, leases};
use crate::error::meaning;
use crate::prepared::Prepared;
use crate::store::{PostgresStore, within_time};

impl PostgresStore {
    /// The store inside a transaction of the caller's, with a lease that is written: for work that
    /// does not end in this transaction. Where it does, [`PostgresStore::locking`] takes less.
    ///
    /// It is for
    /// [`Idempotency::begin_in`](idemp::Idempotency::begin_in) and
    /// [`Idempotency::finish_in`](idemp::Idempotency::finish_in): what the transaction writes and
    /// the outcome are committed together, or not at all.
    ///
    /// `transaction` is one of [`PostgresStore::pool`] (`&deadpool_postgres::Transaction`), which
    /// keeps the statement prepared, or any other (`&tokio_postgres::Transaction`), in the same
    /// database and by a role that may use the table. Each question is one trip, and waits for
    /// another transaction that holds the record for
    /// [`lock_wait`](crate::PostgresOptions::lock_wait) at most; then `begin_in` answers
    /// `InProgress`, and the transaction can go on.
    ///
    /// The transaction should be READ COMMITTED. Under REPEATABLE READ and SERIALIZABLE a duplicate
    /// that committed in between is a [`StoreError::Unavailable`] (SQLSTATE 40001): roll back and
    /// begin again, as with any serialisation failure. After every error the transaction can only
    /// be rolled back.
    pub fn within<'t>(&'t self, transaction: impl Into<Transaction<'t>>) -> Within<'t> {
        Within {
            store: self,
            transaction: transaction.into(),
        }
    }
}

/// The store inside a transaction of the caller's: see [`PostgresStore::within`].
pub struct Within<'t> {
    store: &'t PostgresStore,
    transaction: Transaction<'t>,
}

/// A transaction of the caller's.
#[non_exhaustive]
pub enum Transaction<'t> {
    /// Of a pool, which keeps statements prepared.
    Pooled(&'t deadpool_postgres::Transaction<'t>),
    /// Any other.
    Plain(&'t tokio_postgres::Transaction<'t>),
}

impl<'t> From<&'t deadpool_postgres::Transaction<'t>> for Transaction<'t> {
    fn from(transaction: &'t deadpool_postgres::Transaction<'t>) -> Self {
        Self::Pooled(transaction)
    }
}

impl<'t> From<&'t tokio_postgres::Transaction<'t>> for Transaction<'t> {
    fn from(transaction: &'t tokio_postgres::Transaction<'t>) -> Self {
        Self::Plain(transaction)
    }
}

impl<'t> Within<'t> {
    pub(crate) fn store(&self) -> &'t PostgresStore {
        self.store
    }

    /// Asks in the transaction, within the timeout and the longest wait for a lock.
    pub(crate) async fn ask(
        &self,
        statement: &Prepared,
        parameters: &[&(dyn ToSql + Sync)],
    ) -> Result<Result<Row, Error>, StoreError> {
        let limit = self.store.timeout() + self.store.lock_wait();
        let row = within_time(limit, pin!(self.row(statement, parameters))).await;
        row.ok_or(StoreError::Timeout)
    }

    async fn row(
        &self,
        statement: &Prepared,
        parameters: &[&(dyn ToSql + Sync)],
    ) -> Result<Row, Error> {
        let client = match self.transaction {
            Transaction::Pooled(transaction) if !self.store.pooled_transactions() => {
                let cache = &transaction.statement_cache;
                let statement = statement.on(cache, transaction.client()).await?;
                return transaction.query_one(&statement, parameters).await;
            }
            Transaction::Pooled(transaction) => transaction.client(),
            Transaction::Plain(transaction) => transaction.client(),
        };
        let types = statement.types().iter().cloned();
        let typed: Vec<_> = parameters.iter().copied().zip(types).collect();
        client.query_typed_one(statement.text(), &typed).await
    }

    /// Puts a question. `goes_on`: where another transaction holds the record for too long the
    /// transaction can go on, which takes a subtransaction.
    pub(crate) async fn put(&self, swap: &Swap, goes_on: bool) -> Result<Swapped, StoreError> {
        let ask = Ask::new(swap)?;
        let wait = as_shown(self.store.lock_wait());
        let parameters = ask.parameters(&wait);
        let parameters = [&parameters[..], &[&goes_on]].concat();
        let row = self.ask(self.store.swap_within(), &parameters).await?;
        answer(&row.map_err(|error| meaning(&error))?)?.ok_or(StoreError::Busy)
    }
}

impl AsyncStore for Within<'_> {
    async fn swap(&self, swap: &Swap) -> Result<Swapped, StoreError> {
        // Whoever ends its own work holds the record, or has lost it.
        let ends = swap.expect != Expect::Vacant && !leases(&swap.put);
        self.put(swap, !ends).await
    }
}

/// As the server shows a time of whole milliseconds: in the largest unit that it is a whole number
/// of.
pub(crate) fn as_shown(time: Duration) -> String {
    let millis = time.as_millis();
    let units = [(3_600_000, "h"), (60_000, "min"), (1000, "s")];
    match units.iter().find(|(unit, _)| millis % unit == 0) {
        Some((unit, name)) => format!("{}{name}", millis / unit),
        None => format!("{millis}ms"),
    }
}
