//! Clients that go away, owners that are late, servers that stop.

use std::sync::Arc;
use std::time::Duration;

use axum::extract::Request;
use axum::middleware::{Next, from_fn};
use axum::routing::any;
use axum::{Extension, Router};
use idemp::testing::FakeClock;
use idemp::{Lapse, MemoryStore, Policy};
use idemp_tower::{Execution, IdempotencyLayer};
use tokio::sync::Notify;
use tokio::time::timeout;

use crate::harness::{Counter, Gate, Held, PATIENCE, Rig, Server, post};

/// Says when a request's future was dropped before its end: the server saw its client go.
#[derive(Clone, Default)]
struct Gone(Arc<Notify>);

impl Gone {
    fn watch(&self, router: Router) -> Router {
        struct Dropped(Option<Arc<Notify>>);
        impl Dropped {
            fn is_done(&mut self) {
                self.0 = None;
            }
        }
        impl Drop for Dropped {
            fn drop(&mut self) {
                if let Some(gone) = self.0.take() {
                    gone.notify_one();
                }
            }
        }
        let gone = self.0.clone();
        router.layer(from_fn(move |request: Request, next: Next| {
            let mut dropped = Dropped(Some(gone.clone()));
            async move {
                let response = next.run(request).await;
                dropped.is_done();
                response
            }
        }))
    }

    async fn seen(&self) {
        timeout(PATIENCE, self.0.notified())
            .await
            .expect("the client to be missed");
    }
}

#[tokio::test]
async fn a_client_that_disconnects_stops_nothing_and_its_retry_gets_the_answer() {
    let (rig, counter, held, gone) = (
        Rig::new(),
        Counter::default(),
        Held::default(),
        Gone::default(),
    );
    let router = Router::new()
        .route("/tasks", held.handler(&counter))
        .layer(rig.layer());
    let server = Server::start(gone.watch(router)).await;
    let client = server.begin(post("ada", "k", "{}"));
    held.entered().await;
    client.abort();
    gone.seen().await;

    let retry = server.post("ada", "k", "{}").await;
    assert_eq!(
        retry.code(),
        "IDEMPOTENCY_IN_PROGRESS",
        "it is still running"
    );
    held.go();
    rig.saw("STORED", 1).await;
    let retry = server.post("ada", "k", "{}").await;
    assert_eq!((retry.text(), retry.is_replay()), ("1", true));
    assert_eq!(counter.count(), 1);
}

#[tokio::test]
async fn a_client_that_disconnects_while_the_store_is_asked_loses_nothing() {
    let (rig, counter, gone, gate) = (
        Rig::new(),
        Counter::default(),
        Gone::default(),
        Gate::default(),
    );
    let layer = IdempotencyLayer::unscoped(gate.before(&rig));
    let router = Router::new()
        .route("/tasks", counter.handler())
        .layer(layer);
    let server = Server::start(gone.watch(router)).await;
    gate.shut();
    let client = server.begin(post("ada", "k", "{}"));
    gate.saw("CHECK").await;
    client.abort();
    gone.seen().await;
    gate.open();
    gate.saw("STORED").await;
    assert!(server.post("ada", "k", "{}").await.is_replay());
    assert_eq!(counter.count(), 1);
}

#[tokio::test]
async fn a_client_that_disconnects_before_its_body_is_whole_leaves_nothing() {
    use tokio::io::AsyncWriteExt;
    let (rig, counter, gone) = (Rig::new(), Counter::default(), Gone::default());
    let router = Router::new()
        .route("/tasks", counter.handler())
        .layer(rig.layer());
    let server = Server::start(gone.watch(router)).await;
    let mut client = tokio::net::TcpStream::connect(server.address)
        .await
        .unwrap();
    let half = "POST /tasks HTTP/1.1\r\nhost: localhost\r\nx-user: ada\r\nidempotency-key: k\r\n\
        content-length: 10\r\n\r\nhalf";
    client.write_all(half.as_bytes()).await.unwrap();
    client.shutdown().await.unwrap();
    // The server either answers 400 or drops the request: nothing was asked.
    let mut answer = String::new();
    let read = tokio::io::AsyncReadExt::read_to_string(&mut client, &mut answer);
    timeout(PATIENCE, read)
        .await
        .expect("an end in time")
        .unwrap();
    assert!(
        answer.is_empty() || answer.starts_with("HTTP/1.1 400"),
        "{answer}"
    );
    assert_eq!((counter.count(), rig.store.swaps()), (0, 0));
}

/// On a store with a clock that stands still, so that a lease lapses when it is told to.
fn with_clock(policy: Policy) -> (FakeClock, Rig) {
    let clock = FakeClock::new();
    let store = MemoryStore::with(clock.clone(), 100);
    (clock, Rig::with(store, |builder| builder.policy(policy)))
}

#[tokio::test]
async fn a_late_owner_answers_with_what_the_winner_stored() {
    let (clock, rig) = with_clock(Policy::default());
    let (counter, held) = (Counter::default(), Held::default());
    let handler = {
        let (counter, held) = (counter.clone(), held.clone());
        any(async move |Extension(execution): Extension<Execution>| {
            let number = counter.next();
            if execution.attempt() == 1 {
                held.hold().await;
            }
            format!("attempt {} call {number}", execution.attempt())
        })
    };
    let server = rig.serve(rig.layer(), handler).await;
    let late = server.post("ada", "k", "{}");
    let (late, ()) = tokio::join!(late, async {
        held.entered().await;
        clock.advance(Duration::from_secs(60));
        let winner = server.post("ada", "k", "{}").await;
        assert_eq!(
            (winner.text(), winner.is_replay()),
            ("attempt 2 call 2", false)
        );
        held.go();
    });
    assert_eq!((late.text(), late.is_replay()), ("attempt 2 call 2", true));
    assert_eq!(
        server.post("ada", "k", "{}").await.text(),
        "attempt 2 call 2"
    );
    assert!(rig.words().contains(&"STALE"));
}

#[tokio::test]
async fn a_late_owner_is_told_to_wait_while_the_winner_is_at_work() {
    let (clock, rig) = with_clock(Policy::default());
    let (counter, first, second) = (Counter::default(), Held::default(), Held::default());
    let handler = {
        let (counter, first, second) = (counter.clone(), first.clone(), second.clone());
        any(async move || match counter.next() {
            1 => {
                first.hold().await;
                "late"
            }
            _ => {
                second.hold().await;
                "winner"
            }
        })
    };
    let server = rig.serve(rig.layer(), handler).await;
    let late = async {
        let late = server.post("ada", "k", "{}").await;
        assert_eq!(late.code(), "IDEMPOTENCY_IN_PROGRESS");
        assert_eq!(late.header("retry-after"), Some("1"));
        second.go();
    };
    let winner = async {
        first.entered().await;
        clock.advance(Duration::from_secs(60));
        let (winner, ()) = tokio::join!(server.post("ada", "k", "{}"), async {
            second.entered().await;
            first.go();
        });
        assert_eq!((winner.text(), winner.is_replay()), ("winner", false));
    };
    tokio::join!(late, winner);
    assert_eq!(server.post("ada", "k", "{}").await.text(), "winner");
    assert_eq!(counter.count(), 2);
}

#[tokio::test]
async fn a_lapse_fences_where_the_policy_says_so() {
    let policy = Policy::replay(Duration::from_secs(3600)).on_lapse(Lapse::Fence);
    let (clock, rig) = with_clock(policy.build().unwrap());
    let (counter, held) = (Counter::default(), Held::default());
    let server = rig.serve(rig.layer(), held.handler(&counter)).await;
    let (late, ()) = tokio::join!(server.post("ada", "k", "{}"), async {
        held.entered().await;
        clock.advance(Duration::from_secs(60));
        let other = server.post("ada", "k", "{}").await;
        assert_eq!(other.code(), "IDEMPOTENCY_OUTCOME_UNKNOWN");
        held.go();
    });
    // Nobody took over, so the outcome is known after all.
    assert_eq!((late.text(), late.is_replay()), ("1", false));
    assert!(server.post("ada", "k", "{}").await.is_replay());
}

#[tokio::test]
async fn a_long_handler_keeps_its_lease() {
    let policy = Policy::replay(Duration::from_secs(60)).lease(Duration::from_millis(120));
    let rig = Rig::with(MemoryStore::new(), |builder| {
        builder.policy(policy.build().unwrap())
    });
    let (counter, held) = (Counter::default(), Held::default());
    let server = rig.serve(rig.layer(), held.handler(&counter)).await;
    let (first, ()) = tokio::join!(server.post("ada", "k", "{}"), async {
        // Many times the lease.
        rig.saw("RENEWED", 12).await;
        assert_eq!(
            server.post("ada", "k", "{}").await.code(),
            "IDEMPOTENCY_IN_PROGRESS"
        );
        held.go();
    });
    assert_eq!(first.text(), "1");
    assert!(server.post("ada", "k", "{}").await.is_replay());
    assert_eq!(counter.count(), 1);
}

#[tokio::test]
async fn shutdown_waits_for_owners_whose_clients_are_gone() {
    let (rig, counter, held, gone) = (
        Rig::new(),
        Counter::default(),
        Held::default(),
        Gone::default(),
    );
    let layer = rig.layer();
    let router = Router::new()
        .route("/tasks", held.handler(&counter))
        .layer(layer.clone());
    let server = Server::start(gone.watch(router)).await;
    let client = server.begin(post("ada", "k", "{}"));
    held.entered().await;
    client.abort();
    gone.seen().await;
    server.stop().await;

    let mut idle = std::pin::pin!(layer.idle());
    assert!(futures_are_pending(idle.as_mut()).await);
    held.go();
    timeout(PATIENCE, idle).await.expect("idle in time");
    assert_eq!(rig.words().last(), Some(&"STORED"));
}

/// Whether the future is not done after all else that is ready has run.
async fn futures_are_pending(future: std::pin::Pin<&mut impl Future<Output = ()>>) -> bool {
    tokio::select! {
        biased;
        () = future => false,
        () = tokio::task::yield_now() => true,
    }
}
