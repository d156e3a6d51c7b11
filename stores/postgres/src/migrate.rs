//! Making and updating the table.

use deadpool_postgres::Transaction;
use idemp::StoreError;
use tokio_postgres::Error;

use crate::error::meaning;
use crate::sql::MIGRATIONS;
use crate::store::PostgresStore;

/// What the table's comment begins with; the version follows.
const MARK: &str = "idemp schema ";

/// The newest schema that this build knows.
const KNOWN: u32 = MIGRATIONS.len() as u32;

impl PostgresStore {
    /// Makes the table, or brings it up to date; where it is, does nothing. Several services may
    /// call it at once. The role needs `CREATE` on the schema, and owns the table from then on.
    ///
    /// A team that runs migrations by hand runs the files of [`sql::MIGRATIONS`](crate::sql)
    /// instead.
    ///
    /// # Errors
    /// [`StoreError::Unusable`] where the table has a newer schema than this build knows, is not
    /// one of this library, or the role may not do this. Each file is run in a transaction: it was
    /// run whole or not at all.
    pub async fn migrate(&self) -> Result<(), StoreError> {
        let mut connection = self.connection().await?;
        let transaction = connection.transaction().await;
        let transaction = transaction.map_err(|error| meaning(&error))?;
        self.migrate_in(&transaction).await?;
        let committed = transaction.commit().await;
        committed.map_err(|error| meaning(&error))
    }

    async fn migrate_in(&self, transaction: &Transaction<'_>) -> Result<(), StoreError> {
        let failed = |error: Error| meaning(&error);
        let table = self.names().table();
        // One at a time, however long the others take; the second finds it done.
        transaction
            .batch_execute("SET LOCAL lock_timeout = '60s'; SET LOCAL statement_timeout = '60s'")
            .await
            .map_err(failed)?;
        let lock = "SELECT pg_catalog.pg_advisory_xact_lock(pg_catalog.hashtextextended($1, 0))";
        let name = format!("idemp migrate {table}");
        transaction.query_one(lock, &[&name]).await.map_err(failed)?;
        let found = "SELECT c IS NOT NULL, pg_catalog.obj_description(c, 'pg_class') \
                     FROM pg_catalog.to_regclass($1) c";
        let row = transaction.query_one(found, &[&table]).await;
        let row = row.map_err(failed)?;
        let version = match (row.get(0), row.get(1)) {
            (false, _) => 0,
            (true, comment) => version(comment).ok_or_else(|| {
                StoreError::unusable(format!(
                    "the table {table} has no comment `{MARK}N`: it is not one of this library"
                ))
            })?,
        };
        if version > KNOWN {
            return Err(StoreError::unusable(format!(
                "the table {table} has schema {version}, this build knows up to {KNOWN}; update it"
            )));
        }
        for migration in MIGRATIONS.iter().filter(|next| next.version > version) {
            let text = self.names().put_into(migration.text);
            transaction.batch_execute(&text).await.map_err(failed)?;
        }
        Ok(())
    }
}

fn version(comment: Option<&str>) -> Option<u32> {
    comment?.strip_prefix(MARK)?.trim().parse().ok()
}
