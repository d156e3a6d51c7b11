//! The laws of `swap` as tests, for any store.
//!
//! A store author writes a constructor and one line:
//!
//! ```ignore
//! struct Mine;
//!
//! impl Subject for Mine {
//!     type Store = MyStore;
//!
//!     async fn open(&self, room: &Room) -> MyStore {
//!         MyStore::open(room.folder().join("records"), room.clock()).await.unwrap()
//!     }
//! }
//!
//! idemp_conformance::suite!(Mine);
//! ```

use std::future::Future;

use idemp::AsyncStore;

/// A store under test: how to open it.
pub trait Subject: Send + Sync + 'static {
    /// The store. Blocking stores are wrapped in [`idemp::OnBlockingThreads`].
    type Store: AsyncStore + Send + Sync + 'static;

    /// Opens the store in `room`. What is opened in one room, from another thread, connection or
    /// process, is one store; what is opened in two rooms shares nothing.
    fn open(&self, room: &Room) -> impl Future<Output = Self::Store> + Send;

    /// Moves the clock of every store in `room`, backwards too. By default [`Room::step`]: a store
    /// with a clock of its own adds [`Room::offset`] to it.
    fn step(&self, room: &Room, by_ms: i64) -> impl Future<Output = ()> + Send {
        room.step(by_ms);
        std::future::ready(())
    }

    /// Removes what is gone, and says how many; `None` where the store does that by itself.
    fn purge(&self, _store: &Self::Store) -> impl Future<Output = Option<u64>> + Send {
        std::future::ready(None)
    }

    /// What the store cannot do, and which error it gives instead.
    fn limits(&self) -> Limits {
        Limits::default()
    }
}

/// A place of its own for one test.
#[derive(Debug)]
pub struct Room {
    _private: (),
}

impl Room {
    /// A name that no other room has: `[a-z0-9_]`, at most 24 bytes, begins with a letter.
    #[must_use]
    pub fn name(&self) -> &str {
        unimplemented!()
    }

    /// A temporary folder that goes with the room.
    #[must_use]
    pub fn folder(&self) -> &std::path::Path {
        unimplemented!()
    }

    /// The system's clock, plus [`Room::offset`].
    #[must_use]
    pub fn clock(&self) -> RoomClock {
        unimplemented!()
    }

    /// Milliseconds to be added to the clock of the store; shared with other processes.
    #[must_use]
    pub fn offset(&self) -> i64 {
        unimplemented!()
    }

    /// Moves the clock.
    pub fn step(&self, _by_ms: i64) {
        unimplemented!()
    }

    /// How many records the store may hold, where it can be bounded.
    #[must_use]
    pub fn capacity(&self) -> Option<usize> {
        unimplemented!()
    }
}

/// See [`Room::clock`].
#[derive(Debug, Clone)]
pub struct RoomClock {
    _private: (),
}

/// What a store cannot do.
#[derive(Debug, Clone, Default)]
#[non_exhaustive]
pub struct Limits {}
