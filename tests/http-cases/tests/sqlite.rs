//! The cases on an SQLite file.

mod topics;

use std::sync::OnceLock;

use idemp_stores::AnyStore;
use tempfile::TempDir;

/// All tests share the folder, and each has a file in it.
async fn store() -> AnyStore {
    static FOLDER: OnceLock<TempDir> = OnceLock::new();
    let folder = FOLDER.get_or_init(|| tempfile::tempdir().expect("a folder"));
    let file = tempfile::NamedTempFile::new_in(folder).expect("a file");
    let (_, path) = file.keep().expect("kept");
    let url = format!("sqlite:{}", path.display());
    AnyStore::open(&url).await.expect("it opens")
}

topics::each_on!(store);
