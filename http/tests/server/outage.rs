//! The store fails, hangs, or holds what cannot be read.

use std::time::Duration;

use axum::http::StatusCode;
use axum::routing::post as on_post;
use idemp::testing::Fault;
use idemp::{
    AsyncStore, Expect, Fingerprint, Head, Idempotency, Key, MemoryStore, NewSlot, Policy, Put,
    Rev, Scope, SlotKey, Store, StoreError, Swap, Swapped,
};
use idemp_tower::{Execution, IdempotencyLayer};

use crate::harness::{Counter, Gate, Rig, Server};

const SOON: Duration = Duration::from_millis(40);

#[tokio::test]
async fn where_the_store_fails_nothing_runs() {
    for fault in [Fault::Lost, Fault::Full, Fault::Hang] {
        let (rig, counter) = (Rig::new(), Counter::default());
        let server = rig
            .serve(rig.layer().store_timeout(SOON), counter.handler())
            .await;
        rig.store.always(fault);
        let answer = server.post("ada", "k", "{}").await;
        assert_eq!(answer.status, StatusCode::SERVICE_UNAVAILABLE, "{fault:?}");
        assert_eq!(answer.code(), "IDEMPOTENCY_STORE_UNAVAILABLE");
        assert_eq!(counter.count(), 0);
    }
}

#[tokio::test]
async fn an_answer_of_the_store_that_was_lost_once_costs_nothing() {
    let (rig, counter) = (Rig::new(), Counter::default());
    let server = rig.serve(rig.layer(), counter.handler()).await;
    rig.store
        .next([Fault::AnswerLost, Fault::None, Fault::AnswerLost]);
    assert_eq!(server.post("ada", "k", "{}").await.text(), "1");
    assert!(server.post("ada", "k", "{}").await.is_replay());
}

#[tokio::test]
async fn a_layer_that_fails_open_executes_without_protection() {
    for fault in [Fault::Lost, Fault::Full, Fault::Hang] {
        let (rig, counter) = (Rig::new(), Counter::default());
        let layer = rig.layer().store_timeout(SOON).fail_open();
        let server = rig.serve(layer, counter.handler()).await;
        rig.store.always(fault);
        assert_eq!(server.post("ada", "k", "{}").await.text(), "1", "{fault:?}");
        assert_eq!(server.post("ada", "k", "{}").await.text(), "2");
    }
}

#[tokio::test]
async fn an_answer_that_cannot_be_stored_reaches_its_client_and_is_stored_later() {
    let (rig, counter) = (Rig::new(), Counter::default());
    let (store, inner) = (rig.store.clone(), counter.clone());
    let handler = on_post(move || async move {
        store.always(Fault::Lost);
        inner.next().to_string()
    });
    let server = rig.serve(rig.layer(), handler).await;
    let first = server.post("ada", "k", "{}").await;
    assert_eq!((first.status, first.text()), (StatusCode::OK, "1"));
    assert!(!rig.words().contains(&"STORED"));

    let retry = server.post("ada", "k", "{}").await;
    assert_eq!(retry.status, StatusCode::SERVICE_UNAVAILABLE);

    rig.store.always(Fault::None);
    rig.saw("STORED", 1).await;
    let retry = server.post("ada", "k", "{}").await;
    assert_eq!((retry.text(), retry.is_replay()), ("1", true));
    assert_eq!(counter.count(), 1);
    assert!(!rig.words().contains(&"RELEASED"));
}

#[tokio::test]
async fn a_store_that_hangs_on_finish_keeps_no_client_waiting() {
    let (rig, counter) = (Rig::new(), Counter::default());
    let server = rig
        .serve(rig.layer().store_timeout(SOON), counter.handler())
        .await;
    rig.store.next([Fault::None, Fault::Hang]);
    assert_eq!(server.post("ada", "k", "{}").await.text(), "1");
    rig.saw("STORED", 1).await;
    assert!(server.post("ada", "k", "{}").await.is_replay());
    assert_eq!(counter.count(), 1);
}

#[tokio::test]
async fn within_the_lease_nothing_runs_again_though_the_outcome_was_lost() {
    // So short a lease leaves no time to store the outcome later.
    let lease = Duration::from_millis(100);
    let policy = Policy::replay(Duration::from_secs(60))
        .lease(lease)
        .build()
        .unwrap();
    let clock = idemp::testing::FakeClock::new();
    let rig = Rig::with(MemoryStore::with(clock.clone(), 9), |builder| {
        builder.policy(policy)
    });
    let counter = Counter::default();
    let server = rig.serve(rig.layer(), counter.handler()).await;
    rig.store.next([Fault::None, Fault::Lost, Fault::Lost]);
    assert_eq!(server.post("ada", "k", "{}").await.text(), "1");
    rig.idem.idle().await;
    clock.advance(lease - Duration::from_millis(1));
    assert_eq!(
        server.post("ada", "k", "{}").await.code(),
        "IDEMPOTENCY_IN_PROGRESS"
    );
    clock.advance(Duration::from_millis(1));
    assert_eq!(server.post("ada", "k", "{}").await.text(), "2");
}

#[tokio::test]
async fn a_release_that_fails_changes_no_answer() {
    let (rig, counter) = (Rig::new(), Counter::default());
    let inner = counter.clone();
    let handler =
        on_post(move || async move { (StatusCode::BAD_GATEWAY, inner.next().to_string()) });
    let server = rig.serve(rig.layer(), handler).await;
    rig.store.next([Fault::None, Fault::Lost, Fault::Lost]);
    let first = server.post("ada", "k", "{}").await;
    assert_eq!((first.status, first.text()), (StatusCode::BAD_GATEWAY, "1"));
    rig.saw("RELEASED", 1).await;
    assert_eq!(server.post("ada", "k", "{}").await.text(), "2");
}

#[tokio::test]
async fn an_outcome_marked_unknown_is_told_again_where_the_store_failed() {
    let (rig, counter) = (Rig::new(), Counter::default());
    let (store, inner) = (rig.store.clone(), counter.clone());
    let handler = on_post(async move |execution: axum::Extension<Execution>| {
        inner.next();
        store.next([Fault::Lost, Fault::Lost]);
        execution.mark_unknown().await.unwrap_err();
        StatusCode::OK
    });
    let server = rig.serve(rig.layer(), handler).await;
    assert_eq!(server.post("ada", "k", "{}").await.status, StatusCode::OK);
    let retry = server.post("ada", "k", "{}").await;
    assert_eq!(retry.code(), "IDEMPOTENCY_OUTCOME_UNKNOWN");
    assert_eq!(counter.count(), 1);
}

#[tokio::test]
async fn a_claim_that_is_granted_too_late_is_given_back() {
    let counter = Counter::default();
    let (gate, rig) = (Gate::default(), Rig::new());
    let idem = gate.before(&rig);
    let layer = idemp_tower::IdempotencyLayer::unscoped(idem).store_timeout(SOON);
    let router = axum::Router::new()
        .route("/tasks", counter.handler())
        .layer(layer);
    let server = Server::start(router).await;
    gate.shut();
    assert_eq!(
        server.post("ada", "k", "{}").await.code(),
        "IDEMPOTENCY_STORE_UNAVAILABLE"
    );
    gate.open();
    gate.saw("FORGOTTEN").await;
    assert_eq!(counter.count(), 0);
    // Not even the payload is bound.
    assert_eq!(server.post("ada", "k", "{\"x\":1}").await.text(), "1");
}

#[tokio::test]
async fn a_stored_response_that_cannot_be_read_blocks_and_is_not_shown() {
    for stored in [
        &b""[..],
        b"\x00secret",
        b"\x63secret",
        b"\x01\x03\xe7\x00secret",
    ] {
        let (rig, counter) = (Rig::new(), Counter::default());
        let of_all = Fingerprint::from_parts(1, [7; 32]);
        let layer = rig.layer().fail_open().fingerprint(move |_, _| of_all);
        let server = rig.serve(layer, counter.handler()).await;
        let (scope, key) = (Scope::new(["ada"]).unwrap(), Key::new("k").unwrap());
        match rig.idem.begin_async(&scope, &key, &of_all).await.unwrap() {
            idemp::Decision::Miss(mut lease) => lease.finish_bytes(stored).await.unwrap(),
            other => panic!("{other:?}"),
        }
        let answer = server.post("ada", "k", "{}").await;
        assert_eq!(answer.status, StatusCode::SERVICE_UNAVAILABLE);
        assert_eq!(answer.code(), "IDEMPOTENCY_STORE_UNAVAILABLE");
        assert!(!answer.text().contains("secret"));
        assert_eq!(counter.count(), 0);
    }
}

#[tokio::test]
async fn a_record_that_cannot_be_read_blocks_even_where_the_layer_fails_open() {
    let (rig, counter) = (Rig::new(), Counter::default());
    let server = rig.serve(rig.layer().fail_open(), counter.handler()).await;
    let (scope, key) = (Scope::new(["ada"]).unwrap(), Key::new("k").unwrap());
    let junk = NewSlot {
        rev: Rev::from_bytes([1; 16]),
        lease_for: SOON,
        keep_for: Duration::from_secs(60),
        head: Head::from_bytes(b"secret junk").unwrap(),
        body: (&b"secret"[..]).into(),
    };
    let swap = Swap {
        slot: SlotKey::new(&scope, &key),
        expect: Expect::Vacant,
        put: Put::Slot(junk),
    };
    Store::swap(rig.store.store(), &swap).unwrap();
    let answer = server.post("ada", "k", "{}").await;
    assert_eq!(answer.code(), "IDEMPOTENCY_STORE_UNAVAILABLE");
    assert!(!answer.text().contains("secret"));
    assert_eq!(counter.count(), 0);
}

#[tokio::test]
async fn a_store_that_is_damaged_blocks_even_where_the_layer_fails_open() {
    struct Damaged;
    impl AsyncStore for Damaged {
        async fn swap(&self, _: &Swap) -> Result<Swapped, StoreError> {
            Err(StoreError::Corrupt(None))
        }
    }
    let counter = Counter::default();
    let layer = IdempotencyLayer::unscoped(Idempotency::new(Damaged)).fail_open();
    let router = axum::Router::new()
        .route("/tasks", counter.handler())
        .layer(layer);
    let server = Server::start(router).await;
    let answer = server.post("ada", "k", "{}").await;
    assert_eq!(answer.code(), "IDEMPOTENCY_STORE_UNAVAILABLE");
    assert_eq!(counter.count(), 0);
}
