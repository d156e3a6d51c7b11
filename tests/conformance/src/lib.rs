//! The laws of [`swap`](idemp::AsyncStore::swap) as tests, for any store.
//!
//! A store author writes a constructor and one line. This is all that the store of one process
//! needs:
//!
//! ```
//! use std::collections::HashMap;
//! use std::sync::{Arc, LazyLock, Mutex};
//!
//! use idemp::MemoryStore;
//! use idemp_conformance::{Limits, Room, Subject};
//!
//! struct Memory;
//!
//! impl Subject for Memory {
//!     type Store = Arc<MemoryStore>;
//!
//!     async fn open(&self, room: &Room) -> Arc<MemoryStore> {
//!         // What is opened in one room is one store: here, one memory.
//!         static ROOMS: LazyLock<Mutex<HashMap<String, Arc<MemoryStore>>>> =
//!             LazyLock::new(Default::default);
//!         let capacity = room.capacity().unwrap_or(MemoryStore::DEFAULT_CAPACITY);
//!         let make = || Arc::new(MemoryStore::with(room.clock(), capacity));
//!         let mut rooms = ROOMS.lock().unwrap();
//!         rooms.entry(room.name().to_string()).or_insert_with(make).clone()
//!     }
//!
//!     async fn purge(&self, store: &Arc<MemoryStore>) -> Option<u64> {
//!         Some(store.purge() as u64)
//!     }
//!
//!     fn limits(&self) -> Limits {
//!         Limits::default().of_one_process()
//!     }
//! }
//!
//! idemp_conformance::suite!(Memory);
//! ```
//!
//! That is some twenty tests. Each is named after the law that it tests, and its failure says the
//! law in words and what was seen instead. The laws are those of `slot.rs` in `idemp`;
//! [`apply`](idemp::apply) is their definition, and the suite compares a store with it, whole
//! answer by whole answer, at the time that the store itself said it was.
//!
//! - `IDEMP_NIGHTLY=1` makes more rounds of what is drawn at random or raced for.
//! - `IDEMP_CONFORMANCE_SEED` repeats what was drawn at random: the failure says the number.

mod draws;
pub mod laws;
mod limits;
mod room;
mod subject;
mod world;

pub use limits::Limits;
pub use room::{Room, RoomClock};
pub use subject::Subject;
pub use world::Broken;

/// One `#[test]` for each law, for the [`Subject`] that the expression makes.
///
/// ```ignore
/// idemp_conformance::suite!(Mine);
/// ```
#[macro_export]
macro_rules! suite {
    ($subject:expr) => {
        $crate::each_law!([$crate::test_of_each][$subject]);
    };
}

#[doc(hidden)]
#[macro_export]
macro_rules! test_of_each {
    ([$subject:expr] $($law:ident)*) => {
        $(
            #[test]
            fn $law() {
                let here = concat!(module_path!(), "::", stringify!($law));
                if let Err(broken) = $crate::laws::$law($subject, here) {
                    panic!("{broken}");
                }
            }
        )*
    };
}
