//! The cases on SQLite files.

mod topics;

use idemp_stores::AnyStore;
use tempfile::TempDir;

async fn store() -> (AnyStore, TempDir) {
    let folder = tempfile::tempdir().expect("a folder");
    let url = format!("sqlite:{}", folder.path().join("idempotency.db").display());
    (AnyStore::open(&url).await.expect("it opens"), folder)
}

topics::each_on!(store);
