//! [`SqliteOptions`]: how a store is opened.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use idemp::{Clock, StoreError, Timestamp};

use crate::store::SqliteStore;

/// What an acknowledged swap survives.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Durability {
    /// A power loss: every commit is synced to the disk before it is answered
    /// (`synchronous=FULL`).
    #[default]
    Power,
    /// A killed process only (`synchronous=NORMAL`): nothing waits for the disk. After a power loss
    /// or a crash of the operating system **the last seconds are gone**: leases that were granted
    /// are granted again, and outcomes that were acknowledged are unknown, so that their requests
    /// execute a second time. The file itself stays whole.
    Process,
}

/// How a [`SqliteStore`] is opened. The defaults are meant to be kept.
///
/// ```
/// use std::time::Duration;
/// use idemp_sqlite::SqliteOptions;
///
/// # let folder = std::env::temp_dir().join(format!("idemp-options-{}", std::process::id()));
/// # std::fs::create_dir_all(&folder)?;
/// let store = SqliteOptions::new()
///     .busy_timeout(Duration::from_secs(2))
///     .max_bytes(1 << 30)
///     .open(folder.join("idemp.db"))?;
/// # drop(store);
/// # std::fs::remove_dir_all(&folder)?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone)]
#[must_use]
pub struct SqliteOptions {
    pub(crate) durability: Durability,
    pub(crate) busy_timeout: Duration,
    pub(crate) queue: usize,
    pub(crate) max_bytes: Option<u64>,
    pub(crate) clock: Arc<dyn Clock>,
}

impl SqliteOptions {
    /// [`Durability::Power`], waits of at most 5 seconds, 1,024 waiting writes, no bound on the
    /// size, the machine's wall clock.
    pub fn new() -> Self {
        Self {
            durability: Durability::Power,
            busy_timeout: Duration::from_secs(5),
            queue: 1024,
            max_bytes: None,
            clock: Arc::new(WallClock),
        }
    }

    /// What an acknowledged swap survives.
    pub fn durability(mut self, durability: Durability) -> Self {
        self.durability = durability;
        self
    }

    /// How long a write waits for another process's: then it fails with [`StoreError::Timeout`].
    /// A write that queues behind such a one may wait twice as long. In whole milliseconds, at
    /// most a day.
    pub fn busy_timeout(mut self, bound: Duration) -> Self {
        self.busy_timeout = bound.min(Duration::from_secs(24 * 3600));
        self
    }

    /// How many writes may wait for the one that is being committed, at least one. More fail at
    /// once with [`StoreError::Unavailable`], caused by [`QueueFull`](crate::QueueFull).
    pub fn queue(mut self, writes: usize) -> Self {
        self.queue = writes.max(1);
        self
    }

    /// A bound on the file's size in bytes, its log not counted: past it new slots fail with
    /// [`StoreError::Full`], once what is gone has been purged. In steps of 4 KiB, at least 64 KiB.
    pub fn max_bytes(mut self, bytes: u64) -> Self {
        self.max_bytes = Some(bytes);
        self
    }

    /// Another clock, for tests. All processes that share a file have to agree on the time: one
    /// whose clock is ahead takes over leases that are live for the others. The default is the wall
    /// clock, since it is the one clock that all processes of a machine share, also after one was
    /// restarted or the machine slept; a step of it moves the deadlines of all of them alike.
    pub fn clock(mut self, clock: impl Clock + 'static) -> Self {
        self.clock = Arc::new(clock);
        self
    }

    /// Opens the file, makes it where it does not exist, and brings its schema up to date.
    ///
    /// # Errors
    /// [`StoreError::Unusable`] where the file is read-only, cannot be made, or was written by a
    /// newer version, or SQLite is too old; [`StoreError::Corrupt`] where it is no database, not
    /// ours, or damaged; [`StoreError::Timeout`] where another process keeps it locked;
    /// [`StoreError::Full`] where the disk is full.
    pub fn open(self, path: impl AsRef<Path>) -> Result<SqliteStore, StoreError> {
        SqliteStore::open_with(path.as_ref(), self)
    }
}

impl Default for SqliteOptions {
    fn default() -> Self {
        Self::new()
    }
}

impl std::fmt::Debug for SqliteOptions {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SqliteOptions")
            .field("durability", &self.durability)
            .field("busy_timeout", &self.busy_timeout)
            .field("queue", &self.queue)
            .field("max_bytes", &self.max_bytes)
            .finish_non_exhaustive()
    }
}

/// The wall clock, read each time: see [`SqliteOptions::clock`].
struct WallClock;

impl Clock for WallClock {
    fn now(&self) -> Timestamp {
        let since = SystemTime::now().duration_since(UNIX_EPOCH);
        Timestamp::from_millis(since.map_or(0, |since| since.as_millis() as u64))
    }
}
