//! What becomes of the slot, by what the handler does.

use std::sync::Arc;
use std::sync::atomic::{AtomicU16, Ordering};

use axum::Extension;
use axum::http::StatusCode;
use axum::routing::{MethodRouter, post as on_post};
use idemp_tower::{Disposition, Execution, StatusTable};

use crate::harness::{Counter, Rig};

/// Answers with the status that is set, and counts.
#[derive(Clone, Default)]
struct Answering {
    status: Arc<AtomicU16>,
    counter: Counter,
}

impl Answering {
    fn set(&self, status: u16) {
        self.status.store(status, Ordering::SeqCst);
    }

    fn handler(&self) -> MethodRouter {
        let this = self.clone();
        on_post(move || async move {
            let status = this.status.load(Ordering::SeqCst);
            (
                StatusCode::from_u16(status).unwrap(),
                this.counter.next().to_string(),
            )
        })
    }
}

#[tokio::test]
async fn a_refused_request_is_mended_and_keeps_its_key() {
    for status in [400, 422, 429] {
        let (rig, answering) = (Rig::new(), Answering::default());
        let server = rig.serve(rig.layer(), answering.handler()).await;
        answering.set(status);
        assert_eq!(
            server.post("ada", "k", "{\"bad\":1}").await.status.as_u16(),
            status
        );
        answering.set(201);
        let mended = server.post("ada", "k", "{\"good\":1}").await;
        assert_eq!((mended.status.as_u16(), mended.text()), (201, "2"));
        assert!(server.post("ada", "k", "{\"good\":1}").await.is_replay());
    }
}

#[tokio::test]
async fn a_failed_request_is_tried_again_with_the_same_payload_only() {
    let (rig, answering) = (Rig::new(), Answering::default());
    let server = rig.serve(rig.layer(), answering.handler()).await;
    answering.set(500);
    assert_eq!(server.post("ada", "k", "{}").await.status.as_u16(), 500);
    answering.set(201);
    assert_eq!(
        server.post("ada", "k", "{\"x\":1}").await.code(),
        "IDEMPOTENCY_KEY_CONFLICT"
    );
    assert_eq!(server.post("ada", "k", "{}").await.text(), "2");
    assert!(server.post("ada", "k", "{}").await.is_replay());
}

#[tokio::test]
async fn a_later_attempt_that_is_refused_keeps_the_key_bound() {
    let (rig, answering) = (Rig::new(), Answering::default());
    let server = rig.serve(rig.layer(), answering.handler()).await;
    for status in [500, 400] {
        answering.set(status);
        server.post("ada", "k", "{}").await;
    }
    assert_eq!(
        server.post("ada", "k", "{\"x\":1}").await.code(),
        "IDEMPOTENCY_KEY_CONFLICT"
    );
}

#[tokio::test]
async fn the_table_of_the_route_decides() {
    let (rig, answering) = (Rig::new(), Answering::default());
    let table = StatusTable::builder()
        .status(402, Disposition::Remember)
        .class(5, Disposition::Fence)
        .status(202, Disposition::Forget)
        .build()
        .unwrap();
    let server = rig
        .serve(rig.layer().statuses(table), answering.handler())
        .await;
    answering.set(402);
    server.post("ada", "remembered", "{}").await;
    let retry = server.post("ada", "remembered", "{}").await;
    assert_eq!((retry.status.as_u16(), retry.is_replay()), (402, true));

    answering.set(502);
    assert_eq!(
        server.post("ada", "fenced", "{}").await.status.as_u16(),
        502
    );
    answering.set(201);
    let retry = server.post("ada", "fenced", "{}").await;
    assert_eq!(retry.status, StatusCode::CONFLICT);
    assert_eq!(retry.code(), "IDEMPOTENCY_OUTCOME_UNKNOWN");

    answering.set(202);
    server.post("ada", "forgotten", "{}").await;
    assert_eq!(
        server
            .post("ada", "forgotten", "{\"x\":1}")
            .await
            .status
            .as_u16(),
        202
    );
}

#[tokio::test]
async fn a_handler_that_panics_is_a_plain_500_and_the_same_payload_runs_again() {
    let (rig, counter) = (Rig::new(), Counter::default());
    let handler = {
        let counter = counter.clone();
        on_post(move || async move {
            assert!(counter.next() > 1, "the first call of this handler panics");
            "done"
        })
    };
    let server = rig.serve(rig.layer(), handler).await;
    let first = server.post("ada", "k", "{}").await;
    assert_eq!(first.status, StatusCode::INTERNAL_SERVER_ERROR);
    assert!(first.body.is_empty());
    assert_eq!(
        server.post("ada", "k", "{\"x\":1}").await.code(),
        "IDEMPOTENCY_KEY_CONFLICT"
    );
    assert_eq!(server.post("ada", "k", "{}").await.text(), "done");
    assert!(server.post("ada", "k", "{}").await.is_replay());
}

#[tokio::test]
async fn a_panic_fences_where_the_table_says_so() {
    let (rig, counter) = (Rig::new(), Counter::default());
    let handler = {
        let counter = counter.clone();
        on_post(move || async move {
            counter.next();
            if true {
                panic!("always");
            }
        })
    };
    let table = StatusTable::builder()
        .throws(Disposition::Fence)
        .build()
        .unwrap();
    let server = rig.serve(rig.layer().statuses(table), handler).await;
    assert_eq!(server.post("ada", "k", "{}").await.status.as_u16(), 500);
    assert_eq!(
        server.post("ada", "k", "{}").await.code(),
        "IDEMPOTENCY_OUTCOME_UNKNOWN"
    );
    assert_eq!(counter.count(), 1);
}

#[tokio::test]
async fn a_handler_that_marks_its_outcome_unknown_has_the_last_word() {
    for status in [
        StatusCode::OK,
        StatusCode::BAD_GATEWAY,
        StatusCode::BAD_REQUEST,
    ] {
        let (rig, counter) = (Rig::new(), Counter::default());
        let handler = {
            let counter = counter.clone();
            on_post(async move |Extension(execution): Extension<Execution>| {
                counter.next();
                execution.mark_unknown().await.unwrap();
                status
            })
        };
        let server = rig.serve(rig.layer(), handler).await;
        assert_eq!(server.post("ada", "k", "{}").await.status, status);
        let retry = server.post("ada", "k", "{}").await;
        assert_eq!(retry.code(), "IDEMPOTENCY_OUTCOME_UNKNOWN");
        assert_eq!(
            server.post("ada", "k", "{\"x\":1}").await.code(),
            "IDEMPOTENCY_KEY_CONFLICT"
        );
        assert_eq!(counter.count(), 1);
    }
}

#[tokio::test]
async fn what_one_attempt_publishes_the_next_one_finds() {
    let rig = Rig::new();
    let handler = on_post(async |Extension(execution): Extension<Execution>| {
        match (execution.attempt(), execution.published()) {
            (1, None) => {
                execution.publish(&["charged"]).await.unwrap();
                (StatusCode::SERVICE_UNAVAILABLE, String::new())
            }
            (attempt, published) => {
                let published = String::from_utf8(published.unwrap().to_vec()).unwrap();
                (StatusCode::OK, format!("{attempt} {published}"))
            }
        }
    });
    let server = rig.serve(rig.layer(), handler).await;
    assert_eq!(server.post("ada", "k", "{}").await.status.as_u16(), 503);
    assert_eq!(
        server.post("ada", "k", "{}").await.text(),
        "2 [\"charged\"]"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_fifty_at_once_one_executes() {
    let (rig, counter) = (Rig::new(), Counter::default());
    let server = Arc::new(rig.serve(rig.layer(), counter.handler()).await);
    let all: Vec<_> = (0..50)
        .map(|_| {
            let server = server.clone();
            tokio::spawn(async move { server.post("ada", "k", "{}").await })
        })
        .collect();
    let mut executed = 0;
    for answer in all {
        let answer = answer.await.unwrap();
        match answer.status {
            StatusCode::CREATED => {
                assert_eq!(answer.text(), "1");
                executed += usize::from(!answer.is_replay());
            }
            _ => assert_eq!(answer.code(), "IDEMPOTENCY_IN_PROGRESS"),
        }
    }
    assert_eq!((counter.count(), executed), (1, 1));
}
