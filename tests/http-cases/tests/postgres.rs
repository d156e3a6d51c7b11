//! The cases on a PostgreSQL of their own.

mod topics;

use idemp_servers::Postgres;
use idemp_stores::AnyStore;

async fn store() -> AnyStore {
    let url = Postgres::shared().url();
    AnyStore::open(&url).await.expect("it opens")
}

topics::each_on!(store);
