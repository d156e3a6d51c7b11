//! The cases on a PostgreSQL of their own.

mod topics;

use idemp_servers::Postgres;
use idemp_stores::AnyStore;

async fn store() -> (AnyStore, &'static Postgres) {
    let server = Postgres::shared();
    let store = AnyStore::open(&server.url()).await;
    (store.expect("it opens"), server)
}

topics::each_on!(store);
