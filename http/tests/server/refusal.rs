//! Why a request is not executed, and how it is told.

use std::time::Duration;

use axum::http::{HeaderValue, StatusCode};
use idemp::testing::FakeClock;
use idemp::{Fingerprint, Idempotency, MemoryStore, Policy, Scope};
use idemp_tower::{IdempotencyLayer, Profile, ScopeError};

use crate::harness::{Counter, Held, Rig, Server, post};

#[tokio::test]
async fn another_payload_is_a_conflict_that_tells_nothing_of_the_first() {
    let (rig, counter) = (Rig::new(), Counter::default());
    let server = rig.serve(rig.layer(), counter.handler()).await;
    server
        .post("ada", "final-1769660861-a1", "{\"amount\":5}")
        .await;
    let mut request = post("ada", "final-1769660861-a1", "{\"amount\":6}");
    request
        .headers_mut()
        .insert("x-request-id", HeaderValue::from_static("req_2fc6dfe5"));
    let answer = server.send(request).await;
    assert_eq!(answer.status, StatusCode::CONFLICT);
    assert_eq!(
        answer.text(),
        r#"{"code":"IDEMPOTENCY_KEY_CONFLICT","message":"Idempotency-Key already used with different payload","requestId":"req_2fc6dfe5","details":{"idempotencyKey":"final-1769660861..."}}"#
    );
    assert_eq!(answer.header("x-request-id"), Some("req_2fc6dfe5"));
    assert_eq!(answer.header("cache-control"), Some("no-store"));
    assert_eq!(answer.header("retry-after"), None);
    assert_eq!(counter.count(), 1);
}

#[tokio::test]
async fn the_method_the_path_the_query_and_the_content_type_are_payload() {
    let (rig, counter) = (Rig::new(), Counter::default());
    let router = axum::Router::new()
        .fallback_service(counter.handler())
        .layer(rig.layer());
    let server = Server::start(router).await;
    let request = |change: fn(&mut axum::http::request::Parts)| {
        let (mut parts, body) = post("ada", "k", "{}").into_parts();
        parts.uri = "/tasks?a=1&b=2".parse().unwrap();
        change(&mut parts);
        axum::http::Request::from_parts(parts, body)
    };
    assert_eq!(server.send(request(|_| ())).await.text(), "1");
    let reordered = request(|parts| parts.uri = "/tasks?b=2&a=1".parse().unwrap());
    assert!(server.send(reordered).await.is_replay());
    let others: [fn(&mut axum::http::request::Parts); 5] = [
        |parts| parts.method = "PATCH".parse().unwrap(),
        |parts| parts.uri = "/tasks/?a=1&b=2".parse().unwrap(),
        |parts| parts.uri = "/tasks?a=1&b=3".parse().unwrap(),
        |parts| parts.uri = "/tasks".parse().unwrap(),
        |parts| {
            _ = parts
                .headers
                .insert("content-type", HeaderValue::from_static("text/plain"))
        },
    ];
    for other in others {
        assert_eq!(
            server.send(request(other)).await.code(),
            "IDEMPOTENCY_KEY_CONFLICT"
        );
    }
    assert_eq!(counter.count(), 1);
}

#[tokio::test]
async fn a_request_id_that_cannot_be_adopted_is_replaced() {
    let rig = Rig::new();
    let server = rig
        .serve(rig.layer().required(), Counter::default().handler())
        .await;
    for id in [&b"two words"[..], b"", b"\xff", &[b'i'; 65]] {
        let mut request = post("ada", "a,b", "{}");
        request
            .headers_mut()
            .insert("x-request-id", HeaderValue::from_bytes(id).unwrap());
        let answer = server.send(request).await;
        let id = answer.json()["requestId"].as_str().unwrap().to_owned();
        assert!(id.starts_with("req_") && id.len() == 12, "{id}");
        assert_eq!(answer.header("x-request-id"), Some(id.as_str()));
    }
}

#[tokio::test]
async fn while_the_first_runs_a_duplicate_waits_and_another_payload_conflicts() {
    let (rig, counter, held) = (Rig::new(), Counter::default(), Held::default());
    let server = rig.serve(rig.layer(), held.handler(&counter)).await;
    let first = async { server.post("ada", "k", "{}").await };
    let others = async {
        held.entered().await;
        let duplicate = server.post("ada", "k", "{}").await;
        assert_eq!(duplicate.status, StatusCode::CONFLICT);
        assert_eq!(duplicate.code(), "IDEMPOTENCY_IN_PROGRESS");
        let wait: u64 = duplicate.header("retry-after").unwrap().parse().unwrap();
        assert!((1..=60).contains(&wait), "{wait}");
        let other = server.post("ada", "k", "{\"x\":1}").await;
        assert_eq!(other.code(), "IDEMPOTENCY_KEY_CONFLICT");
        held.go();
    };
    let (first, ()) = tokio::join!(first, others);
    assert_eq!(first.text(), "1");
    assert_eq!(counter.count(), 1);
}

#[tokio::test]
async fn the_ietf_profile_answers_with_problem_details() {
    let (rig, counter) = (Rig::new(), Counter::default());
    let layer = rig.layer().profile(Profile::Ietf).required().body_limit(16);
    let server = rig.serve(layer, counter.handler()).await;
    server.post("ada", "k", "{}").await;
    let mut keyless = post("ada", "k", "{}");
    keyless.headers_mut().remove("idempotency-key");
    for (request, status, code) in [
        (
            post("ada", "k", "{\"x\":1}"),
            422,
            "IDEMPOTENCY_KEY_CONFLICT",
        ),
        (post("ada", "a, b", "{}"), 400, "IDEMPOTENCY_KEY_INVALID"),
        (keyless, 400, "IDEMPOTENCY_KEY_MISSING"),
        (
            post("ada", "k", "{\"x\":\"a long one\"}"),
            413,
            "IDEMPOTENCY_BODY_TOO_LARGE",
        ),
    ] {
        let answer = server.send(request).await;
        assert_eq!(answer.status.as_u16(), status);
        assert_eq!(
            answer.header("content-type"),
            Some("application/problem+json")
        );
        assert_eq!(answer.header("content-language"), Some("en"));
        assert_eq!(answer.header("link").is_some(), status == 400);
        assert_eq!(
            (answer.code(), &answer.json()["status"]),
            (code.into(), &status.into())
        );
    }
}

#[tokio::test]
async fn an_expired_key_is_told_so_while_its_tombstone_stands() {
    let (clock, counter) = (FakeClock::new(), Counter::default());
    let hour = Duration::from_secs(3600);
    let policy = Policy::replay(hour).tombstone(hour).build().unwrap();
    let rig = Rig::with(MemoryStore::with(clock.clone(), 9), |builder| {
        builder.policy(policy)
    });
    let server = rig.serve(rig.layer(), counter.handler()).await;
    server.post("ada", "k", "{}").await;
    clock.advance(hour);
    let expired = server.post("ada", "k", "{}").await;
    assert_eq!(expired.status, StatusCode::PRECONDITION_FAILED);
    assert_eq!(expired.code(), "IDEMPOTENCY_KEY_EXPIRED");
    clock.advance(hour);
    assert_eq!(server.post("ada", "k", "{}").await.text(), "2");
}

#[tokio::test]
async fn without_a_scope_nothing_is_asked_and_nothing_runs() {
    let counter = Counter::default();
    for (error, status, code) in [
        (ScopeError::Unauthenticated, 401, "UNAUTHENTICATED"),
        (ScopeError::Missing, 500, "IDEMPOTENCY_SCOPE_MISSING"),
        (
            Scope::new(["a", ""]).unwrap_err().into(),
            500,
            "IDEMPOTENCY_SCOPE_MISSING",
        ),
    ] {
        for (profile, content_type) in [
            (Profile::Default, "application/json"),
            (Profile::Ietf, "application/problem+json"),
        ] {
            let (rig, error) = (Rig::new(), error.clone());
            let layer = IdempotencyLayer::new(rig.idem.clone(), move |_| Err(error.clone()));
            let server = rig.serve(layer.profile(profile), counter.handler()).await;
            let answer = server.post("ada", "k", "{}").await;
            assert_eq!(answer.status.as_u16(), status);
            assert_eq!(answer.header("content-type"), Some(content_type));
            assert_eq!(answer.code(), code);
            assert_eq!(rig.store.swaps(), 0);
        }
    }
    assert_eq!(counter.count(), 0);
}

#[tokio::test]
async fn a_layer_inside_of_another_one_is_told_so_where_both_are_for_the_same_caller() {
    for differs in [false, true] {
        let (rig, counter) = (Rig::new(), Counter::default());
        let inner = match differs {
            true => rig
                .layer()
                .fingerprint(|_, _| Fingerprint::of_bytes(b"another")),
            false => rig.layer(),
        };
        let server = rig.serve(rig.layer(), counter.handler().layer(inner)).await;
        for _ in 0..2 {
            let answer = server.post("ada", "k", "{}").await;
            assert_eq!(answer.status.as_u16(), 500);
            assert_eq!(answer.code(), "IDEMPOTENCY_NESTED");
        }
        assert_eq!(counter.count(), 0);

        let apart = IdempotencyLayer::new(rig.idem.clone(), |_| Ok(Scope::new(["inner"])?));
        let server = rig.serve(rig.layer(), counter.handler().layer(apart)).await;
        assert_eq!(server.post("ada", "k", "{}").await.text(), "1");
        assert!(server.post("ada", "k", "{}").await.is_replay());
    }
}

#[tokio::test]
async fn closures_that_panic_refuse_before_the_store_is_asked() {
    let (rig, counter) = (Rig::new(), Counter::default());
    let scope = IdempotencyLayer::new(rig.idem.clone(), |_| panic!("the scope of this test"));
    let fingerprint = rig
        .layer()
        .fingerprint(|_, _| panic!("the fingerprint of this test"));
    let server = rig.serve(scope, counter.handler()).await;
    let answer = server.post("ada", "k", "{}").await;
    assert_eq!(answer.code(), "IDEMPOTENCY_SCOPE_MISSING");
    let server = rig.serve(fingerprint, counter.handler()).await;
    let answer = server.post("ada", "k", "{}").await;
    assert_eq!((answer.status.as_u16(), answer.text()), (500, ""));
    assert_eq!((counter.count(), rig.store.swaps()), (0, 0));
}

#[tokio::test]
async fn an_unscoped_layer_has_one_scope_for_all() {
    let counter = Counter::default();
    let layer = IdempotencyLayer::unscoped(Idempotency::new(MemoryStore::new()));
    let router = axum::Router::new()
        .route("/tasks", counter.handler())
        .layer(layer);
    let server = Server::start(router).await;
    server.post("ada", "k", "{}").await;
    assert!(server.post("bob", "k", "{}").await.is_replay());
}

#[tokio::test]
async fn the_scope_is_made_of_the_request_as_it_came() {
    let (rig, counter) = (Rig::new(), Counter::default());
    let layer = IdempotencyLayer::new(rig.idem.clone(), |request| {
        let tenant = request.headers.get("x-tenant").ok_or(ScopeError::Missing)?;
        let tenant = tenant.to_str().map_err(|_| ScopeError::Missing)?;
        Ok(Scope::new([
            tenant,
            request.method.as_str(),
            request.uri.path(),
        ])?)
    });
    let server = rig.serve(layer, counter.handler()).await;
    for (tenant, runs) in [("a", 1), ("b", 2), ("a", 2)] {
        let mut request = post("ada", "k", "{}");
        request
            .headers_mut()
            .insert("x-tenant", HeaderValue::from_static(tenant));
        server.send(request).await;
        assert_eq!(counter.count(), runs);
    }
}
