//! The cases on a Redis of their own.

mod topics;

use idemp_servers::Redis;
use idemp_stores::AnyStore;

async fn store() -> AnyStore {
    let url = Redis::shared().url();
    AnyStore::open(&url).await.expect("it opens")
}

topics::each_on!(store);
