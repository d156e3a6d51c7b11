//! [`Room`]: a place of its own for one test, and its clock.

use std::fmt::Write;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

use idemp::{Clock, Entropy, SystemEntropy, Timestamp};

/// The environment variable that names the room to join.
pub(crate) const INVITATION: &str = "IDEMP_CONFORMANCE_ROOM";

/// A place of its own for one test: a name, a folder, a clock. The folder goes with the room.
#[derive(Debug)]
pub struct Room {
    name: String,
    folder: PathBuf,
    clock: RoomClock,
    capacity: Option<usize>,
    joined: bool,
}

impl Room {
    /// A name that no other room has: `[a-z0-9_]`, at most 24 bytes, begins with a letter.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// A temporary folder that goes with the room.
    #[must_use]
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// The system's clock, plus [`Room::offset`].
    #[must_use]
    pub fn clock(&self) -> RoomClock {
        self.clock.clone()
    }

    /// Milliseconds to be added to the clock of the store. A process that joins the room begins
    /// with the offset of that moment.
    #[must_use]
    pub fn offset(&self) -> i64 {
        self.clock.offset()
    }

    /// Moves the clock.
    pub fn step(&self, by_ms: i64) {
        self.clock.offset.fetch_add(by_ms, Ordering::SeqCst);
    }

    /// How many records the store may hold, where it can be bounded; `None` where the test needs
    /// no bound.
    #[must_use]
    pub fn capacity(&self) -> Option<usize> {
        self.capacity
    }

    /// Whether another process made the room, and this one came into it.
    #[must_use]
    pub fn is_joined(&self) -> bool {
        self.joined
    }

    pub(crate) fn new(capacity: Option<usize>) -> Self {
        let mut name = String::from("room_");
        for byte in &SystemEntropy.bytes()[..8] {
            let _ = write!(name, "{byte:02x}");
        }
        let folder = std::env::temp_dir().join(format!("idemp_{name}"));
        std::fs::create_dir(&folder).expect("a temporary folder can be made");
        Self {
            name,
            folder,
            clock: RoomClock::default(),
            capacity,
            joined: false,
        }
    }

    /// What another process has to find in [`INVITATION`] to join the room.
    pub(crate) fn invitation(&self) -> String {
        format!("{} {} {}", self.offset(), self.name, self.folder.display())
    }

    /// The room of another process, if this one was invited.
    pub(crate) fn joined() -> Option<Self> {
        let invitation = std::env::var(INVITATION).ok()?;
        let mut parts = invitation.splitn(3, ' ');
        let clock = RoomClock::default();
        let offset = parts.next()?.parse().ok()?;
        clock.offset.store(offset, Ordering::SeqCst);
        Some(Self {
            clock,
            name: parts.next()?.to_string(),
            folder: parts.next()?.into(),
            capacity: None,
            joined: true,
        })
    }
}

impl Drop for Room {
    fn drop(&mut self) {
        if !self.joined {
            // A store that is slow to let go of its files keeps them: that breaks no law.
            let _ = std::fs::remove_dir_all(&self.folder);
        }
    }
}

/// The system's clock and an offset that the test moves; clones share it. See [`Room::clock`].
#[derive(Debug, Clone, Default)]
pub struct RoomClock {
    offset: Arc<AtomicI64>,
}

impl RoomClock {
    /// See [`Room::offset`].
    #[must_use]
    pub fn offset(&self) -> i64 {
        self.offset.load(Ordering::SeqCst)
    }

    /// The offset itself, for a store that reads it at every swap.
    #[must_use]
    pub fn shared_offset(&self) -> Arc<AtomicI64> {
        self.offset.clone()
    }
}

impl Clock for RoomClock {
    fn now(&self) -> Timestamp {
        let wall = SystemTime::now().duration_since(UNIX_EPOCH);
        let wall = wall.map_or(0, |wall| wall.as_millis() as u64);
        Timestamp::from_millis(wall.saturating_add_signed(self.offset()))
    }
}
