//! What a retry gets, and what the handler sees.

use std::sync::{Arc, Mutex};

use axum::body::Body;
use axum::extract::Request;
use axum::http::{HeaderMap, Response, StatusCode};
use axum::routing::{MethodRouter, post as on_post};
use http_body_util::BodyExt;
use idemp::http::HeaderFilter;
use idemp_tower::Execution;

use crate::harness::{Answer, Counter, Rig, post};

/// What the handler answers, what the first request got, and what the retry got.
async fn twice(status: u16, headers: &[(&str, &str)], body: &'static [u8]) -> (Answer, Answer) {
    let counter = Counter::default();
    let answering = {
        let counter = counter.clone();
        let headers: Vec<_> = headers
            .iter()
            .map(|(n, v)| (n.to_string(), v.to_string()))
            .collect();
        on_post(move || async move {
            counter.next();
            let mut response = Response::builder().status(status);
            for (name, value) in &headers {
                response = response.header(name, value);
            }
            response.body(Body::from(body)).unwrap()
        })
    };
    let rig = Rig::new();
    let filter = HeaderFilter::default().allow("X-Part").unwrap();
    let server = rig.serve(rig.layer().headers(filter), answering).await;
    let first = server.post("ada", "k", "{}").await;
    let retry = server.post("ada", "k", "{}").await;
    assert_eq!(counter.count(), 1);
    assert!(!first.headers.contains_key("idempotent-replayed"));
    assert!(retry.is_replay());
    assert_eq!(retry.header("cache-control"), Some("no-store"));
    (first, retry)
}

fn all<'a>(headers: &'a HeaderMap, name: &str) -> Vec<&'a [u8]> {
    headers
        .get_all(name)
        .iter()
        .map(|value| value.as_bytes())
        .collect()
}

#[tokio::test]
async fn a_retry_gets_the_stored_answer_and_nothing_runs() {
    let (rig, counter) = (Rig::new(), Counter::default());
    let server = rig.serve(rig.layer(), counter.handler()).await;

    let first = server.post("ada", "k-1", "{}").await;
    let retry = server.post("ada", "k-1", "{}").await;

    assert_eq!((first.status, first.text()), (StatusCode::CREATED, "1"));
    assert_eq!((retry.status, retry.text()), (StatusCode::CREATED, "1"));
    assert!(!first.is_replay() && retry.is_replay());
    assert_eq!(counter.count(), 1);
    assert_eq!(
        rig.words(),
        ["CHECK", "MISS", "STORE START", "STORED", "CHECK", "HIT"]
    );
}

#[tokio::test]
async fn a_204_is_replayed_without_a_body_and_a_length() {
    let (first, retry) = twice(204, &[], b"").await;
    for answer in [&first, &retry] {
        assert_eq!(answer.status, StatusCode::NO_CONTENT);
        assert!(answer.body.is_empty());
        assert_eq!(answer.header("content-length"), None);
    }
}

#[tokio::test]
async fn an_empty_body_is_replayed_with_length_0() {
    let (first, retry) = twice(200, &[], b"").await;
    for answer in [&first, &retry] {
        assert_eq!(answer.header("content-length"), Some("0"));
        assert!(answer.body.is_empty());
    }
}

#[tokio::test]
async fn a_binary_body_is_replayed_byte_for_byte() {
    let body = b"\xff\xfe\x00\x80";
    let (first, retry) = twice(200, &[("content-type", "application/octet-stream")], body).await;
    for answer in [&first, &retry] {
        assert_eq!(&answer.body[..], body);
        assert_eq!(answer.header("content-length"), Some("4"));
        assert_eq!(
            answer.header("content-type"),
            Some("application/octet-stream")
        );
    }
}

#[tokio::test]
async fn a_redirect_is_replayed_with_its_location() {
    let (_, retry) = twice(303, &[("location", "/tasks/1")], b"").await;
    assert_eq!(retry.status, StatusCode::SEE_OTHER);
    assert_eq!(retry.header("location"), Some("/tasks/1"));
}

#[tokio::test]
async fn repeated_headers_are_replayed_in_their_order_whatever_their_case() {
    let headers = [
        ("Link", "</a>; rel=next"),
        ("X-Part", "1"),
        ("LINK", "</b>; rel=prev"),
        ("x-part", "2"),
        ("X-PART", "1"),
    ];
    let (first, retry) = twice(200, &headers, b"x").await;
    for answer in [&first, &retry] {
        assert_eq!(
            all(&answer.headers, "link"),
            [b"</a>; rel=next", b"</b>; rel=prev"]
        );
        assert_eq!(all(&answer.headers, "x-part"), [b"1", b"2", b"1"]);
    }
}

#[tokio::test]
async fn what_is_the_first_callers_own_is_never_stored() {
    let own = [
        ("set-cookie", "sid=secret"),
        ("authorization", "Bearer secret"),
        ("www-authenticate", "Basic"),
        ("x-request-id", "first"),
        ("x-ratelimit-remaining", "9"),
        ("access-control-allow-origin", "https://a.example"),
        ("etag", "\"v1\""),
        ("date", "Mon, 01 Jan 2001 00:00:00 GMT"),
    ];
    let (first, retry) = twice(201, &own, b"{}").await;
    for (name, value) in own {
        assert_eq!(
            first.header(name),
            Some(value),
            "the first answer is unchanged"
        );
        let expected = (name == "etag").then_some(value);
        if name == "date" {
            assert_ne!(retry.header(name), Some(value));
        } else {
            assert_eq!(retry.header(name), expected, "{name}");
        }
    }
}

#[tokio::test]
async fn a_replay_is_the_snapshot_even_if_the_resource_changed() {
    let (rig, state) = (Rig::new(), Arc::new(Mutex::new("new")));
    let handler = {
        let state = state.clone();
        on_post(move || async move { *state.lock().unwrap() })
    };
    let server = rig.serve(rig.layer(), handler).await;
    server.post("ada", "k", "{}").await;
    *state.lock().unwrap() = "changed";
    assert_eq!(server.post("ada", "k", "{}").await.text(), "new");
    assert_eq!(server.post("ada", "other", "{}").await.text(), "changed");
}

/// Answers with what the handler sees of the request.
fn mirror() -> MethodRouter {
    on_post(async |request: Request| {
        let (parts, body) = request.into_parts();
        let body = body.collect().await.unwrap();
        let trailer = body
            .trailers()
            .and_then(|trailers| trailers.get("x-sum").cloned());
        let execution = parts.extensions.get::<Execution>();
        let seen = serde_json::json!({
            "uri": parts.uri.to_string(),
            "parts": parts.headers.get_all("x-part").iter().map(|v| v.to_str().unwrap()).collect::<Vec<_>>(),
            "length": parts.headers.get("content-length").map(|v| v.to_str().unwrap()),
            "key": parts.headers.get("idempotency-key").map(|v| v.to_str().unwrap()),
            "body": body.to_bytes().to_vec(),
            "trailer": trailer.map(|v| v.to_str().unwrap().to_owned()),
            "attempt": execution.map(Execution::attempt),
            "fence": execution.map(|execution| execution.fence() > 0),
            "lives": execution.map(|execution| !execution.remaining().is_zero()),
        });
        axum::Json(seen)
    })
}

#[tokio::test]
async fn the_handler_sees_the_request_as_it_came_and_its_execution() {
    let rig = Rig::new();
    let server = rig.serve(rig.layer(), mirror()).await;
    let mut request = post("ada", "\"k\"", "\u{0}{ \"a\": 1 }");
    *request.uri_mut() = "/tasks?b=2&a=1".parse().unwrap();
    request.headers_mut().append("x-part", "2".parse().unwrap());
    request.headers_mut().append("x-part", "1".parse().unwrap());
    let expected = serde_json::json!({
        "uri": "/tasks?b=2&a=1", "parts": ["2", "1"], "length": "11", "key": "\"k\"",
        "body": b"\0{ \"a\": 1 }".to_vec(), "trailer": null,
        "attempt": 1, "fence": true, "lives": true,
    });
    assert_eq!(server.send(request).await.json(), expected);
}

#[tokio::test]
async fn a_request_without_a_key_has_no_execution() {
    let rig = Rig::new();
    let server = rig.serve(rig.layer(), mirror()).await;
    let mut request = post("ada", "k", "{}");
    request.headers_mut().remove("idempotency-key");
    assert_eq!(
        server.send(request).await.json()["attempt"],
        serde_json::Value::Null
    );
}

#[tokio::test]
async fn a_chunked_request_and_its_trailers_reach_the_handler() {
    let rig = Rig::new();
    let server = rig.serve(rig.layer(), mirror()).await;
    let chunked = "POST /tasks HTTP/1.1\r\nhost: localhost\r\nx-user: ada\r\nidempotency-key: k\r\n\
        transfer-encoding: chunked\r\ntrailer: x-sum\r\nconnection: close\r\n\r\n\
        2\r\nab\r\n1\r\nc\r\n0\r\nx-sum: 7\r\n\r\n";
    let answer = server.raw(chunked.as_bytes()).await;
    let body = answer.split("\r\n\r\n").nth(1).unwrap();
    let seen: serde_json::Value = serde_json::from_str(body).unwrap();
    assert_eq!(seen["body"], serde_json::json!(b"abc".to_vec()));
    assert_eq!(seen["trailer"], "7");
}

#[tokio::test]
async fn a_handler_that_changes_its_request_changes_nothing_of_the_claim() {
    let (rig, counter) = (Rig::new(), Counter::default());
    let inner = counter.handler().layer(axum::middleware::map_request(
        async |mut request: Request| {
            *request.uri_mut() = "/elsewhere?x=1".parse().unwrap();
            request
                .headers_mut()
                .insert("content-type", "text/plain".parse().unwrap());
            *request.body_mut() = Body::from("mutated");
            request
        },
    ));
    let server = rig.serve(rig.layer(), inner).await;
    server.post("ada", "k", "{}").await;
    assert!(server.post("ada", "k", "{}").await.is_replay());
    assert_eq!(
        server.post("ada", "k", "mutated").await.code(),
        "IDEMPOTENCY_KEY_CONFLICT"
    );
    assert_eq!(counter.count(), 1);
}

#[tokio::test]
async fn two_users_with_one_key_never_cross() {
    let (rig, counter) = (Rig::new(), Counter::default());
    let server = rig.serve(rig.layer(), counter.handler()).await;
    assert_eq!(server.post("ada", "k", "{}").await.text(), "1");
    let other = server.post("bob", "k", "{}").await;
    assert_eq!((other.text(), other.is_replay()), ("2", false));
    assert_eq!(
        server.post("bob", "k", "{\"x\":1}").await.code(),
        "IDEMPOTENCY_KEY_CONFLICT"
    );
    assert_eq!(server.post("ada", "k", "{}").await.text(), "1");
    assert_eq!(server.post("bob", "k", "{}").await.text(), "2");
}

#[tokio::test]
async fn the_events_name_the_task_of_the_answer() {
    let rig = Rig::with(idemp::MemoryStore::new(), |builder| {
        builder.label(idemp_tower::json_label("task_id"))
    });
    let handler = on_post(async || {
        (
            StatusCode::CREATED,
            axum::Json(serde_json::json!({"task_id": "vt_4e80c173"})),
        )
    });
    let server = rig.serve(rig.layer(), handler).await;
    server
        .post(
            "793ccc64-0000-4000-8000-000000000000",
            "final-1769660861",
            "{}",
        )
        .await;
    server
        .post(
            "793ccc64-0000-4000-8000-000000000000",
            "final-1769660861",
            "{}",
        )
        .await;
    assert_eq!(
        rig.lines(),
        [
            "[IDEMP] CHECK user=793ccc64... key=final-17...",
            "[IDEMP] MISS user=793ccc64... key=final-17...",
            "[IDEMP] STORE START user=793ccc64... key=final-17... task=vt_4e80c173",
            "[IDEMP] STORED user=793ccc64... key=final-17... → task=vt_4e80c173 (TTL=24h)",
            "[IDEMP] CHECK user=793ccc64... key=final-17...",
            "[IDEMP] HIT user=793ccc64... key=final-17... → task=vt_4e80c173",
        ]
    );
}

#[tokio::test]
async fn hooks_that_panic_change_nothing() {
    let idem = idemp::Idempotency::builder(idemp::MemoryStore::new())
        .observer(|_: &idemp::Event<'_>| panic!("the observer"))
        .label(|_| panic!("the label"))
        .build();
    let counter = Counter::default();
    let layer = idemp_tower::IdempotencyLayer::unscoped(idem);
    let router = axum::Router::new()
        .route("/tasks", counter.handler())
        .layer(layer);
    let server = crate::harness::Server::start(router).await;
    assert_eq!(server.post("ada", "k", "{}").await.text(), "1");
    assert!(server.post("ada", "k", "{}").await.is_replay());
}
