//! [`Database`]: where the tasks are. A service that forgets what it sold when it is restarted
//! would have no use for an idempotency key that outlives it.

use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard};

use rusqlite::Connection;

/// What goes wrong with a database.
pub type Error = rusqlite::Error;

/// One SQLite file with the tasks of all users. Cheap to clone.
///
/// It answers in less than a millisecond, and is asked in place.
#[derive(Debug, Clone)]
pub struct Database(Arc<Mutex<Connection>>);

impl Database {
    /// Opens the file, and makes it where there is none.
    ///
    /// # Errors
    /// Where it is not a database of this service, or cannot be written.
    pub fn open(path: &Path) -> Result<Self, Error> {
        let connection = Connection::open(path)?;
        connection.pragma_update(None, "journal_mode", "wal")?;
        // What a client was told has happened survives a power loss.
        connection.pragma_update(None, "synchronous", "full")?;
        Self::with(connection)
    }

    /// One that is gone with the process.
    ///
    /// # Errors
    /// Where there is no memory.
    pub fn in_memory() -> Result<Self, Error> {
        Self::with(Connection::open_in_memory()?)
    }

    fn with(connection: Connection) -> Result<Self, Error> {
        connection.execute_batch(include_str!("database.sql"))?;
        Ok(Self(Arc::new(Mutex::new(connection))))
    }

    pub(crate) fn lock(&self) -> MutexGuard<'_, Connection> {
        self.0
            .lock()
            .unwrap_or_else(|poisoned| poisoned.into_inner())
    }
}
