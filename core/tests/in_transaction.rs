//! `begin_in` and `finish_in` on a store that is handed in, and a record that somebody else's
//! transaction holds.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use idemp::{
    AsyncStore, Decision, Fingerprint, Idempotency, Key, LeaseError, MemoryStore, Scope, Store,
    StoreError, Swap, Swapped,
};

/// Every record of it is held by a transaction that does not end.
#[derive(Default)]
struct Held {
    asked: AtomicUsize,
}

impl Store for Held {
    fn swap(&self, _: &Swap) -> Result<Swapped, StoreError> {
        self.asked.fetch_add(1, Ordering::SeqCst);
        Err(StoreError::Busy)
    }
}

impl AsyncStore for Held {
    async fn swap(&self, swap: &Swap) -> Result<Swapped, StoreError> {
        Store::swap(self, swap)
    }
}

fn request() -> (Scope, Key, Fingerprint) {
    let scope = Scope::new(["tenant-7"]).unwrap();
    let key = Key::new("final-1769660861").unwrap();
    (scope, key, Fingerprint::of_json(b"{}"))
}

#[tokio::test]
async fn a_record_held_by_a_transaction_is_in_progress_to_every_form_of_begin_and_asked_for_once() {
    let (scope, key, request) = request();
    let idem = Idempotency::new(Held::default());
    let blocking = idem.begin(&scope, &key, &request).unwrap().map(drop);
    let awaited = idem.begin_async(&scope, &key, &request).await.unwrap();
    let within = Held::default();
    let inside = idem.begin_in(&within, &scope, &key, &request).await;
    for decision in [blocking, awaited.map(drop), inside.unwrap().map(drop)] {
        assert!(matches!(decision, Decision::InProgress(_)), "{decision:?}");
        assert_eq!(decision.retry_after(), Some(Duration::from_secs(1)));
    }
    assert_eq!(idem.store().asked.load(Ordering::SeqCst), 2);
    assert_eq!(within.asked.load(Ordering::SeqCst), 1);
}

#[tokio::test]
async fn to_its_owner_a_record_that_is_held_is_an_error_that_may_be_repeated() {
    let (scope, key, request) = request();
    let (outside, transaction) = (MemoryStore::new(), MemoryStore::new());
    let idem = Idempotency::new(outside);
    let begun = idem.begin_in(&transaction, &scope, &key, &request).await;
    let Decision::Miss(lease) = begun.unwrap() else {
        panic!("it is new");
    };
    let held = idem.finish_in(&Held::default(), &lease, "vt_1").await;
    let Err(error @ LeaseError::Store(StoreError::Busy)) = held else {
        panic!("{held:?}");
    };
    assert!(error.is_retryable());
    idem.finish_in(&transaction, &lease, "vt_1").await.unwrap();

    let replay = idem.begin_in(&transaction, &scope, &key, &request).await;
    let Decision::Hit(replay) = replay.unwrap() else {
        panic!("it is known");
    };
    assert_eq!(replay.json::<String>().unwrap(), "vt_1");
    assert!(idem.store().is_empty(), "only the transaction was asked");
}
