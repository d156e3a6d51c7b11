//! A worker that stands still between its claim and the handler.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::http::StatusCode;
use idemp::testing::FakeClock;
use idemp::{
    AsyncStore, Decision, Fingerprint, Idempotency, Key, MemoryStore, Scope, StoreError, Swap,
    Swapped, SystemEntropy,
};
use idemp_tower::IdempotencyLayer;

use crate::harness::{Counter, Server};

type Meanwhile = Box<dyn FnOnce() + Send>;

/// A store whose next answer takes as long as what happens meanwhile.
#[derive(Clone)]
struct Slow {
    store: Arc<MemoryStore>,
    meanwhile: Arc<Mutex<Option<Meanwhile>>>,
}

impl AsyncStore for Slow {
    async fn swap(&self, swap: &Swap) -> Result<Swapped, StoreError> {
        let answer = AsyncStore::swap(&self.store, swap).await;
        if let Some(meanwhile) = self.meanwhile.lock().unwrap().take() {
            meanwhile();
        }
        answer
    }
}

struct Rig {
    clock: FakeClock,
    slow: Slow,
    counter: Counter,
    server: Server,
}

impl Rig {
    async fn start(set: impl FnOnce(IdempotencyLayer<Slow>) -> IdempotencyLayer<Slow>) -> Self {
        let (clock, counter) = (FakeClock::new(), Counter::default());
        let slow = Slow {
            store: Arc::new(MemoryStore::with(clock.clone(), 100)),
            meanwhile: Arc::default(),
        };
        let builder = idemp::Builder::with(slow.clone(), SystemEntropy, clock.clone());
        let layer = IdempotencyLayer::unscoped(builder.build())
            .fingerprint(|_, body| Fingerprint::of_bytes(body));
        let router = Router::new().route("/tasks", counter.handler());
        let server = Server::start(router.layer(set(layer))).await;
        Self {
            clock,
            slow,
            counter,
            server,
        }
    }

    fn meanwhile(&self, what: impl FnOnce() + Send + 'static) {
        *self.slow.meanwhile.lock().unwrap() = Some(Box::new(what));
    }
}

#[tokio::test]
async fn a_worker_that_stood_still_executes_nothing_and_gives_the_claim_back() {
    for fail_open in [false, true] {
        let rig = Rig::start(|layer| match fail_open {
            true => layer.fail_open(),
            false => layer,
        })
        .await;
        let clock = rig.clock.clone();
        rig.meanwhile(move || clock.advance(Duration::from_secs(57)));
        let refused = rig.server.post("ada", "k", "{}").await;
        assert_eq!(refused.status, StatusCode::SERVICE_UNAVAILABLE);
        assert_eq!(refused.code(), "IDEMPOTENCY_STORE_UNAVAILABLE");
        assert_eq!(refused.header("retry-after"), Some("1"));
        assert_eq!((rig.counter.count(), rig.slow.store.len()), (0, 0));
        let mended = rig.server.post("ada", "k", "{\"x\":1}").await;
        assert_eq!(mended.text(), "1", "nothing was bound");
    }
}

#[tokio::test]
async fn it_takes_nothing_from_whoever_took_over_meanwhile() {
    let rig = Rig::start(|layer| layer).await;
    let (clock, store) = (rig.clock.clone(), rig.slow.store.clone());
    rig.meanwhile(move || {
        clock.advance(Duration::from_secs(60));
        let other = Idempotency::new(store);
        let (scope, key) = (Scope::new(["unscoped"]).unwrap(), Key::new("k").unwrap());
        match other.begin(&scope, &key, &Fingerprint::of_bytes(b"{}")) {
            Ok(Decision::Miss(lease)) => {
                assert_eq!(lease.attempt(), 2);
                let _ = lease.detach();
            }
            _ => panic!("not taken over"),
        }
    });
    let refused = rig.server.post("ada", "k", "{}").await;
    assert_eq!(refused.code(), "IDEMPOTENCY_STORE_UNAVAILABLE");
    let retry = rig.server.post("ada", "k", "{}").await;
    assert_eq!(retry.code(), "IDEMPOTENCY_IN_PROGRESS");
    assert_eq!(rig.counter.count(), 0);
}

#[tokio::test]
async fn one_that_was_only_slow_executes() {
    let rig = Rig::start(|layer| layer).await;
    let clock = rig.clock.clone();
    rig.meanwhile(move || clock.advance(Duration::from_secs(56)));
    assert_eq!(rig.server.post("ada", "k", "{}").await.text(), "1");
}
