//! The cases on the memory store.

mod topics;

use idemp_stores::AnyStore;

async fn store() -> (AnyStore, ()) {
    (AnyStore::memory(), ())
}

topics::each_on!(store);
