//! The laws of a store, in both classes of durability.

use idemp_conformance::{Limits, Room, Subject, suite};
use idemp_sqlite::{Durability, SqliteOptions, SqliteStore};
use rusqlite::Connection;

struct Sqlite(Durability);

impl Subject for Sqlite {
    type Store = SqliteStore;

    async fn open(&self, room: &Room) -> SqliteStore {
        let options = SqliteOptions::new().durability(self.0).clock(room.clock());
        options.open(room.folder().join("idemp.db")).unwrap()
    }

    async fn purge(&self, store: &SqliteStore) -> Option<u64> {
        Some(store.purge(u64::MAX).unwrap())
    }

    /// What is no database is refused when it is opened; so the records are taken away later.
    async fn out_of_reach(&self, room: &Room) -> Option<SqliteStore> {
        let store = self.open(room).await;
        let other = Connection::open(room.folder().join("idemp.db")).unwrap();
        other.execute_batch("DROP TABLE slots").unwrap();
        Some(store)
    }

    fn limits(&self) -> Limits {
        // Bounded in bytes, not in records: see the tests of a full file.
        Limits::default().without_bound()
    }
}

mod power {
    use super::*;

    suite!(Sqlite(Durability::Power));
}

mod process {
    use super::*;

    suite!(Sqlite(Durability::Process));
}
