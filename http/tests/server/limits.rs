//! Limits: of the layer, and of what stands behind it.

use std::sync::Arc;
use std::time::Duration;

use axum::extract::Request;
use axum::http::StatusCode;
use axum::middleware::Next;
use axum::response::IntoResponse;
use axum::routing::any;
use idemp::{Lapse, MemoryStore, Policy};
use tokio::sync::Semaphore;
use tokio::time::timeout;
use tower::limit::ConcurrencyLimitLayer;

use crate::harness::{Counter, Held, PATIENCE, Rig, Server, post};

#[tokio::test]
async fn a_body_over_the_limit_is_refused_before_and_after_the_key_is_used() {
    let (rig, counter) = (Rig::new(), Counter::default());
    let server = rig
        .serve(rig.layer().body_limit(8), counter.handler())
        .await;
    let over = server.post("ada", "k", "123456789").await;
    assert_eq!(over.status, StatusCode::PAYLOAD_TOO_LARGE);
    assert_eq!(over.code(), "IDEMPOTENCY_BODY_TOO_LARGE");
    assert_eq!(rig.store.swaps(), 0);
    assert_eq!(server.post("ada", "k", "12345678").await.text(), "1");
    let over = server.post("ada", "k", "123456789").await;
    assert_eq!(over.status, StatusCode::PAYLOAD_TOO_LARGE);
    assert_eq!(counter.count(), 1);
}

#[tokio::test]
async fn the_limit_holds_whatever_the_length_says() {
    let (rig, counter) = (Rig::new(), Counter::default());
    let server = rig
        .serve(rig.layer().body_limit(8), counter.handler())
        .await;
    let raw = async |length: &str, body: &str| {
        let head = "POST /tasks HTTP/1.1\r\nhost: localhost\r\nx-user: ada\r\n\
            idempotency-key: k\r\nconnection: close\r\n";
        let answer = server
            .raw(format!("{head}{length}\r\n\r\n{body}").as_bytes())
            .await;
        answer[9..12].to_owned()
    };
    let chunked = "transfer-encoding: chunked";
    assert_eq!(
        raw(chunked, "5\r\n12345\r\n4\r\n6789\r\n0\r\n\r\n").await,
        "413"
    );
    assert_eq!(raw("content-length: 1000000", "").await, "413");
    assert_eq!(raw("content-length: -1", "123456789").await, "400");
    assert_eq!(raw("content-length: many", "123456789").await, "400");
    assert_eq!(raw(chunked, "not a chunk\r\n").await, "400");
    assert_eq!(counter.count(), 0);
    assert_eq!(
        raw(chunked, "5\r\n12345\r\n3\r\n678\r\n0\r\n\r\n").await,
        "201"
    );
    // No length is an empty body.
    assert_eq!(raw("x-a: b", "").await, "409");
}

#[tokio::test]
async fn a_limit_of_an_outer_layer_is_told_as_such() {
    let (rig, counter) = (Rig::new(), Counter::default());
    let outer = axum::middleware::map_request(async |request: Request| {
        request.map(|body| axum::body::Body::new(http_body_util::Limited::new(body, 4)))
    });
    let router = axum::Router::new().route("/tasks", counter.handler());
    let server = Server::start(router.layer(rig.layer()).layer(outer)).await;
    let answer = server.post("ada", "k", "12345").await;
    assert_eq!(answer.code(), "IDEMPOTENCY_BODY_TOO_LARGE");
    assert_eq!(server.post("ada", "k", "1234").await.text(), "1");
}

#[tokio::test]
async fn too_many_owners_are_shed_and_leave_no_claim() {
    let (rig, counter, held) = (Rig::new(), Counter::default(), Held::default());
    let layer = rig.layer().max_owners(1);
    let server = rig.serve(layer, held.handler(&counter)).await;
    let done = server.post("ada", "done", "{}");
    let (done, ()) = tokio::join!(done, async {
        held.entered().await;
        held.go();
    });
    assert_eq!(done.text(), "1");

    let first = server.post("ada", "first", "{}");
    let others = async {
        held.entered().await;
        let shed = server.post("ada", "second", "{}").await;
        assert_eq!(shed.status, StatusCode::SERVICE_UNAVAILABLE);
        assert_eq!(shed.code(), "IDEMPOTENCY_OVERLOADED");
        assert_eq!(shed.header("retry-after"), Some("1"));
        // A replay needs no room, and the others are told what they would be told.
        assert!(server.post("ada", "done", "{}").await.is_replay());
        assert_eq!(
            server.post("ada", "first", "{}").await.code(),
            "IDEMPOTENCY_IN_PROGRESS"
        );
        held.go();
    };
    let (first, ()) = tokio::join!(first, others);
    assert_eq!(first.text(), "2");
    assert_eq!(rig.idem.store().store().len(), 2, "no claim is left behind");

    // Another payload, even: nothing was bound.
    let second = server.post("ada", "second", "{\"x\":1}");
    let (second, ()) = tokio::join!(second, async {
        held.entered().await;
        held.go();
    });
    assert_eq!(second.text(), "3");
}

#[tokio::test]
async fn a_handler_that_never_answers_gives_its_room_back_at_the_ceiling_of_its_lease() {
    let policy = Policy::replay(Duration::from_secs(60))
        .lease(Duration::from_millis(100))
        .ceiling(Duration::from_millis(300))
        .on_lapse(Lapse::Fence);
    let rig = Rig::with(MemoryStore::new(), |builder| {
        builder.policy(policy.build().unwrap())
    });
    let handler = any(async |body: String| {
        if body == "stuck" {
            std::future::pending::<()>().await;
        }
        StatusCode::CREATED
    });
    let server = rig.serve(rig.layer().max_owners(1), handler).await;
    let stuck = server.begin(post("ada", "stuck", "stuck"));
    rig.saw("MISS", 1).await;

    let mut shed = 0;
    let answered = timeout(PATIENCE, async {
        loop {
            let answer = server.post("ada", "next", "{}").await;
            if answer.status == StatusCode::CREATED {
                return answer;
            }
            assert_eq!(answer.code(), "IDEMPOTENCY_OVERLOADED");
            shed += 1;
        }
    });
    assert!(!answered.await.expect("there is room again").is_replay());
    assert!(shed > 0);
    // Nobody knows what came of the other one, which is still at it.
    let again = || server.post("ada", "stuck", "stuck");
    while again().await.code() == "IDEMPOTENCY_IN_PROGRESS" {}
    assert_eq!(again().await.code(), "IDEMPOTENCY_OUTCOME_UNKNOWN");
    assert!(!stuck.is_finished());
    stuck.abort();
}

#[tokio::test]
async fn a_replay_is_answered_while_a_new_request_is_refused() {
    let (rig, counter, room) = (Rig::new(), Counter::default(), Arc::new(Semaphore::new(1)));
    let limit = {
        let room = room.clone();
        axum::middleware::from_fn(move |request: Request, next: Next| {
            let room = room.clone();
            async move {
                match room.try_acquire() {
                    Ok(_permit) => next.run(request).await,
                    Err(_) => StatusCode::TOO_MANY_REQUESTS.into_response(),
                }
            }
        })
    };
    let server = rig.serve(rig.layer(), counter.handler().layer(limit)).await;
    server.post("ada", "k", "{}").await;
    let taken = room.acquire().await.unwrap();
    assert!(server.post("ada", "k", "{}").await.is_replay());
    let refused = server.post("ada", "new", "{}").await;
    assert_eq!(refused.status, StatusCode::TOO_MANY_REQUESTS);
    drop(taken);
    assert_eq!(server.post("ada", "new", "{\"x\":1}").await.text(), "2");
}

#[tokio::test]
async fn a_replay_is_answered_while_the_inner_service_is_not_ready() {
    let (rig, counter, held) = (Rig::new(), Counter::default(), Held::default());
    let handler = held.handler(&counter).layer(ConcurrencyLimitLayer::new(1));
    let server = rig.serve(rig.layer(), handler).await;
    let (done, ()) = tokio::join!(server.post("ada", "done", "{}"), async {
        held.entered().await;
        held.go();
    });
    assert_eq!(done.text(), "1");
    let first = server.post("ada", "first", "{}");
    let (first, ()) = tokio::join!(first, async {
        held.entered().await;
        assert!(server.send(post("ada", "done", "{}")).await.is_replay());
        held.go();
    });
    assert_eq!(first.text(), "2");
}
