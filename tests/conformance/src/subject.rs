//! [`Subject`]: a store under test.

use std::future::{Future, ready};

use idemp::AsyncStore;

use crate::limits::Limits;
use crate::room::Room;

/// A store under test: how to open it.
pub trait Subject: Send + Sync + 'static {
    /// The store. Blocking stores are wrapped in `idemp::OnBlockingThreads` (feature `tokio`).
    type Store: AsyncStore + Send + Sync + 'static;

    /// Opens the store in `room`. What is opened in one room, from another thread, connection or
    /// process, is one store; what is opened in two rooms shares nothing.
    ///
    /// Where the room [is joined](Room::is_joined) from another process, the store of the first
    /// process is meant: what it takes to find it (a server's address) can be left in
    /// [`Room::folder`] by whoever opened it first.
    fn open(&self, room: &Room) -> impl Future<Output = Self::Store> + Send;

    /// Moves the clock of every store in `room`, backwards too; nothing is asked meanwhile. By
    /// default [`Room::step`]: a store with a clock of its own adds [`Room::offset`] to it.
    fn step(&self, room: &Room, by_ms: i64) -> impl Future<Output = ()> + Send {
        room.step(by_ms);
        ready(())
    }

    /// Removes all that is gone, and says how many; `None` where the store does that by itself.
    fn purge(&self, store: &Self::Store) -> impl Future<Output = Option<u64>> + Send {
        let _ = store;
        ready(None)
    }

    /// A store in `room` that cannot reach its records: a closed port, a path that is no
    /// database. It is asked how its errors look. `None` where there is no such thing.
    fn out_of_reach(&self, room: &Room) -> impl Future<Output = Option<Self::Store>> + Send {
        let _ = room;
        ready(None)
    }

    /// How many trips to its records `store` made since it was opened, where it counts them.
    fn trips(&self, store: &Self::Store) -> Option<u64> {
        let _ = store;
        None
    }

    /// What the store cannot do.
    fn limits(&self) -> Limits {
        Limits::default()
    }
}
