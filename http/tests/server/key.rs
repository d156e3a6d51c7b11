//! The `Idempotency-Key` header, and what is no business of the layer.

use axum::http::{HeaderValue, Method, StatusCode};
use idemp::http::Methods;
use idemp_tower::Strictness;

use crate::harness::{Counter, Rig, post};

#[tokio::test]
async fn a_key_that_names_none_is_refused_before_the_store_is_asked() {
    let (rig, counter) = (Rig::new(), Counter::default());
    let server = rig.serve(rig.layer(), counter.handler()).await;
    let long = "k".repeat(256);
    let keys: [&[&[u8]]; 11] = [
        &[b""],
        &[b"  "],
        &[b"\"\""],
        &[b"a", b"b"],
        &[b"a", b"a"],
        &[b"a, b"],
        &[b"\"a\", \"b\""],
        &[b"\"open"],
        &[long.as_bytes()],
        &[b"k\xf6y"],
        &[b"two words"],
    ];
    for values in keys {
        let mut request = post("ada", "x", "{}");
        request.headers_mut().remove("idempotency-key");
        for value in values {
            let value = HeaderValue::from_bytes(value).unwrap();
            request.headers_mut().append("idempotency-key", value);
        }
        let answer = server.send(request).await;
        assert_eq!(answer.status, StatusCode::BAD_REQUEST, "{values:?}");
        assert_eq!(answer.code(), "IDEMPOTENCY_KEY_INVALID");
        assert!(answer.json()["details"].get("idempotencyKey").is_none());
    }
    assert_eq!((counter.count(), rig.store.swaps()), (0, 0));
}

#[tokio::test]
async fn a_key_of_255_bytes_is_one_and_quotes_do_not_count() {
    let (rig, counter) = (Rig::new(), Counter::default());
    let server = rig.serve(rig.layer(), counter.handler()).await;
    let key = "k".repeat(255);
    assert_eq!(server.post("ada", &key, "{}").await.text(), "1");
    assert!(
        server
            .post("ada", &format!("\"{key}\""), "{}")
            .await
            .is_replay()
    );
}

#[tokio::test]
async fn a_bare_key_is_refused_where_the_strict_form_is_asked_for() {
    let (rig, counter) = (Rig::new(), Counter::default());
    let layer = rig.layer().strictness(Strictness::Strict);
    let server = rig.serve(layer, counter.handler()).await;
    assert_eq!(
        server.post("ada", "bare", "{}").await.code(),
        "IDEMPOTENCY_KEY_INVALID"
    );
    assert_eq!(server.post("ada", "\"bare\"", "{}").await.text(), "1");
}

#[tokio::test]
async fn without_a_key_the_handler_runs_untouched_unless_one_is_required() {
    let (rig, counter) = (Rig::new(), Counter::default());
    let optional = rig.serve(rig.layer(), counter.handler()).await;
    let required = rig.serve(rig.layer().required(), counter.handler()).await;
    let keyless = || {
        let mut request = post("ada", "x", "{}");
        request.headers_mut().remove("idempotency-key");
        request
    };
    assert_eq!(optional.send(keyless()).await.text(), "1");
    assert_eq!(optional.send(keyless()).await.text(), "2");
    let refused = required.send(keyless()).await;
    assert_eq!(refused.status, StatusCode::BAD_REQUEST);
    assert_eq!(refused.code(), "IDEMPOTENCY_KEY_MISSING");
    assert_eq!((counter.count(), rig.store.swaps()), (2, 0));
    assert!(rig.words().is_empty());
    assert_eq!(required.post("ada", "k", "{}").await.text(), "3");
}

#[tokio::test]
async fn other_methods_pass_untouched_whatever_their_key() {
    let (rig, counter) = (Rig::new(), Counter::default());
    let server = rig.serve(rig.layer().required(), counter.handler()).await;
    for (i, method) in ["GET", "HEAD", "PUT", "DELETE", "OPTIONS"]
        .into_iter()
        .enumerate()
    {
        let mut request = post("ada", "a, b", "{}");
        *request.method_mut() = Method::from_bytes(method.as_bytes()).unwrap();
        let answer = server.send(request).await;
        assert_eq!(answer.status, StatusCode::CREATED, "{method}");
        assert_eq!(counter.count(), i + 1);
    }
    assert_eq!(rig.store.swaps(), 0);
}

#[tokio::test]
async fn method_names_are_compared_without_regard_to_case() {
    let (rig, counter) = (Rig::new(), Counter::default());
    let methods = Methods::new(["put"]).unwrap();
    let server = rig
        .serve(rig.layer().methods(methods), counter.handler())
        .await;
    for (method, runs) in [("PUT", 1), ("PUT", 1), ("POST", 2), ("POST", 3)] {
        let mut request = post("ada", "k", "{}");
        *request.method_mut() = Method::from_bytes(method.as_bytes()).unwrap();
        server.send(request).await;
        assert_eq!(counter.count(), runs, "{method}");
    }
    // Another payload, since the method counts as it is written.
    let mut request = post("ada", "k", "{}");
    *request.method_mut() = Method::from_bytes(b"Put").unwrap();
    assert_eq!(
        server.send(request).await.code(),
        "IDEMPOTENCY_KEY_CONFLICT"
    );
}
