//! The laws of a store, on the table.

use std::fs;

use idemp_conformance::{Limits, Room, Subject};
use idemp_postgres::PostgresStore;
use idemp_servers::Postgres;

struct InATable;

impl Subject for InATable {
    type Store = PostgresStore;

    async fn open(&self, room: &Room) -> PostgresStore {
        let address = room.folder().join("address");
        if !room.is_joined() {
            fs::write(&address, Postgres::shared().url()).unwrap();
        }
        let url = fs::read_to_string(&address).unwrap();
        let store = PostgresStore::options(&url)
            .table(room.name())
            .connections(8);
        let store = store.open().unwrap();
        store.migrate().await.unwrap();
        store
    }

    /// The clock is a function in the database: all who use the table see it.
    async fn step(&self, room: &Room, by_ms: i64) {
        room.step(by_ms);
        Postgres::shared().sql(&format!(
            "CREATE OR REPLACE FUNCTION \"public\".\"{}_now\"() RETURNS timestamptz LANGUAGE sql VOLATILE AS
             $$ SELECT clock_timestamp() + '{}ms'::interval $$",
            room.name(),
            room.offset()
        ));
    }

    async fn purge(&self, store: &PostgresStore) -> Option<u64> {
        let mut purged = 0;
        loop {
            let batch = store.purge(100).await.unwrap();
            purged += batch;
            if batch < 100 {
                return Some(purged);
            }
        }
    }

    async fn out_of_reach(&self, room: &Room) -> Option<PostgresStore> {
        let nobody = PostgresStore::options("postgres://idemp_app@127.0.0.1:1/idemp");
        Some(nobody.table(room.name()).open().unwrap())
    }

    fn limits(&self) -> Limits {
        Limits::default().without_bound()
    }
}

idemp_conformance::suite!(InATable);
