//! The memory store keeps the laws of `swap` (see `slot.rs`): the suite that is there for every
//! store, applied to ours.

use std::collections::HashMap;
use std::sync::{Arc, LazyLock, Mutex};

use idemp::MemoryStore;
use idemp_conformance::{Limits, Room, Subject};

struct Memory;

impl Subject for Memory {
    type Store = Arc<MemoryStore>;

    async fn open(&self, room: &Room) -> Arc<MemoryStore> {
        static ROOMS: LazyLock<Mutex<HashMap<String, Arc<MemoryStore>>>> =
            LazyLock::new(Default::default);
        let capacity = room.capacity().unwrap_or(MemoryStore::DEFAULT_CAPACITY);
        let make = || Arc::new(MemoryStore::with(room.clock(), capacity));
        let mut rooms = ROOMS.lock().unwrap();
        let name = room.name().to_string();
        rooms.entry(name).or_insert_with(make).clone()
    }

    async fn purge(&self, store: &Arc<MemoryStore>) -> Option<u64> {
        Some(store.purge() as u64)
    }

    fn limits(&self) -> Limits {
        Limits::default().of_one_process()
    }
}

idemp_conformance::suite!(Memory);
