//! Removing what is gone.

use idemp::StoreError;

use crate::error::unreadable;
use crate::store::PostgresStore;

impl PostgresStore {
    /// Deletes at most `limit` records that are gone, of all tenants, and says how many. Ask again
    /// until it is fewer than `limit`; several services may do so at once, each passes over what
    /// another one is at. A few thousand are a good batch.
    ///
    /// Nothing else depends on it: a record that is gone is never seen again, purged or not.
    ///
    /// # Errors
    /// [`StoreError`]. Records that are gone may have been deleted.
    pub async fn purge(&self, limit: u32) -> Result<u64, StoreError> {
        let row = self
            .ask(self.purge_statement(), &[&i64::from(limit)])
            .await?;
        let purged: i64 = row.try_get(0).map_err(|error| unreadable(&error))?;
        Ok(purged.unsigned_abs())
    }
}
