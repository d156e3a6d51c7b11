//! The cases on a Redis of their own.

mod topics;

use idemp_servers::Redis;
use idemp_stores::AnyStore;

async fn store() -> (AnyStore, &'static Redis) {
    let server = Redis::shared();
    let store = AnyStore::open(&server.url()).await;
    (store.expect("it opens"), server)
}

topics::each_on!(store);
