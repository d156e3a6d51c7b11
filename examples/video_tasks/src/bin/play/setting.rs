//! [`Setting`]: where the service keeps its keys and its tasks while it is played with.

use std::path::PathBuf;

use tempfile::TempDir;

/// The files in it go with this value.
pub(crate) struct Setting {
    folder: TempDir,
    store: Option<String>,
}

impl Setting {
    /// With the keys in the store of this URL; by default in an SQLite file.
    pub(crate) fn new(store: Option<String>) -> Result<Self, String> {
        let folder = tempfile::tempdir();
        let folder = folder.map_err(|error| format!("there is no temporary folder: {error}"))?;
        Ok(Self { folder, store })
    }

    /// The URL of the store.
    pub(crate) fn store(&self) -> String {
        self.store.clone().unwrap_or_else(|| {
            let file = self.folder.path().join("idempotency.db");
            format!("sqlite:{}", file.display())
        })
    }

    /// What a URL is about, without what may be secret in it.
    pub(crate) fn kind(&self) -> &'static str {
        let url = self.store();
        match url.split(':').next().unwrap_or_default() {
            "memory" => "the memory of the service",
            "sqlite" => "an SQLite file",
            "postgres" | "postgresql" => "PostgreSQL",
            _ => "Redis",
        }
    }

    /// Whether what is in the store outlives the service.
    pub(crate) fn lasts(&self) -> bool {
        self.store.as_deref() != Some("memory")
    }

    /// The file with the tasks.
    pub(crate) fn tasks(&self) -> PathBuf {
        self.folder.path().join("video_tasks.db")
    }
}
