//! Responses that cannot be stored reach their client, and are not executed twice.

use std::convert::Infallible;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::body::Body;
use axum::http::{HeaderMap, Request, Response};
use axum::routing::{MethodRouter, post as on_post};
use bytes::Bytes;
use http_body::Frame;
use http_body_util::{BodyExt, Full};
use idemp_tower::IdempotencyLayer;
use tower::{ServiceBuilder, ServiceExt};

use crate::harness::{Counter, Frames, Rig, Server, post};

/// Gives each body once; a further call fails the test.
fn once(body: Body, content_type: &'static str, counter: &Counter) -> MethodRouter {
    let (body, counter) = (Mutex::new(Some(body)), counter.clone());
    let body = Arc::new(body);
    on_post(move || async move {
        counter.next();
        let body = body.lock().unwrap().take().expect("executed once");
        Response::builder()
            .header("content-type", content_type)
            .body(body)
            .unwrap()
    })
}

async fn is_unknown(server: &Server, counter: &Counter) {
    let retry = server.post("ada", "k", "{}").await;
    assert_eq!(retry.status.as_u16(), 409);
    assert_eq!(retry.code(), "IDEMPOTENCY_OUTCOME_UNKNOWN");
    assert_eq!(counter.count(), 1);
}

fn data(bytes: &'static [u8]) -> Result<Frame<Bytes>, String> {
    Ok(Frame::data(Bytes::from_static(bytes)))
}

#[tokio::test]
async fn a_response_at_the_limit_is_stored_and_one_above_is_not() {
    for (length, stored) in [(1000, true), (1001, false)] {
        let (rig, counter) = (Rig::new(), Counter::default());
        let handler = once(Body::from(vec![b'x'; length]), "text/plain", &counter);
        let server = rig.serve(rig.layer().response_limit(1000), handler).await;
        let first = server.post("ada", "k", "{}").await;
        assert_eq!(first.body.len(), length);
        assert_eq!(
            first.header("content-length"),
            Some(length.to_string().as_str())
        );
        if stored {
            assert_eq!(server.post("ada", "k", "{}").await.body.len(), length);
        } else {
            is_unknown(&server, &counter).await;
        }
    }
}

#[tokio::test]
async fn a_body_of_unknown_length_that_ends_is_stored() {
    let (rig, counter) = (Rig::new(), Counter::default());
    let (sender, frames) = Frames::new();
    for part in [&b"one "[..], b"", b"two ", b"three"] {
        sender
            .send(Ok(Frame::data(Bytes::from_static(part))))
            .unwrap();
    }
    drop(sender);
    let handler = once(Body::new(frames), "text/plain", &counter);
    let server = rig.serve(rig.layer(), handler).await;
    assert_eq!(server.post("ada", "k", "{}").await.text(), "one two three");
    let retry = server.post("ada", "k", "{}").await;
    assert_eq!(
        (retry.text(), retry.header("content-length")),
        ("one two three", Some("13"))
    );
    assert!(retry.is_replay());
}

#[tokio::test]
async fn a_stream_that_grows_over_the_limit_reaches_its_client_whole() {
    let (rig, counter) = (Rig::new(), Counter::default());
    let (sender, frames) = Frames::new();
    for _ in 0..100 {
        sender.send(data(b"0123456789")).unwrap();
    }
    drop(sender);
    let handler = once(Body::new(frames), "text/plain", &counter);
    let server = rig.serve(rig.layer().response_limit(95), handler).await;
    let first = server.post("ada", "k", "{}").await;
    assert_eq!(first.text(), "0123456789".repeat(100));
    is_unknown(&server, &counter).await;
    assert!(rig.words().contains(&"UNSTORABLE"));
}

#[tokio::test]
async fn an_endless_stream_is_passed_on_after_its_time() {
    let (rig, counter) = (Rig::new(), Counter::default());
    let (sender, frames) = Frames::new();
    sender.send(data(b"first")).unwrap();
    let handler = once(Body::new(frames), "application/x-ndjson", &counter);
    let layer = rig.layer().stream_after(Duration::from_millis(30));
    let server = rig.serve(layer, handler).await;
    let mut body = server.open(post("ada", "k", "{}")).await.into_body();
    let mut next = async || body.frame().await.unwrap().unwrap().into_data().unwrap();
    assert_eq!(next().await, "first");
    // It has not ended, and a duplicate is told.
    is_unknown(&server, &counter).await;
    sender.send(data(b"second")).unwrap();
    assert_eq!(next().await, "second");
}

#[tokio::test]
async fn an_event_stream_is_passed_on_at_once() {
    for content_type in ["text/event-stream", "Text/Event-Stream; charset=utf-8"] {
        let (rig, counter) = (Rig::new(), Counter::default());
        let (sender, frames) = Frames::new();
        let handler = once(Body::new(frames), content_type, &counter);
        let layer = rig.layer().stream_after(Duration::from_secs(3600));
        let server = rig.serve(layer, handler).await;
        let mut body = server.open(post("ada", "k", "{}")).await.into_body();
        sender.send(data(b"data: 1\n\n")).unwrap();
        let first = body.frame().await.unwrap().unwrap().into_data().unwrap();
        assert_eq!(first, "data: 1\n\n");
        is_unknown(&server, &counter).await;
    }
}

#[tokio::test]
async fn untouched_requests_stream_both_ways() {
    let rig = Rig::new();
    let (sender, frames) = Frames::new();
    let handler = once(Body::new(frames), "text/plain", &Counter::default());
    let server = rig.serve(rig.layer(), handler).await;
    let mut request = post("ada", "k", "{}");
    request.headers_mut().remove("idempotency-key");
    let mut body = server.open(request).await.into_body();
    for part in [&b"a"[..], b"b"] {
        sender
            .send(Ok(Frame::data(Bytes::from_static(part))))
            .unwrap();
        let frame = body.frame().await.unwrap().unwrap();
        assert_eq!(frame.into_data().unwrap(), part);
    }
    assert_eq!(rig.store.swaps(), 0);
}

#[tokio::test]
async fn a_body_that_breaks_off_is_not_executed_again() {
    let (rig, counter) = (Rig::new(), Counter::default());
    let (sender, frames) = Frames::new();
    sender.send(data(b"half")).unwrap();
    sender
        .send(Err("the handler's source is gone".into()))
        .unwrap();
    let handler = once(Body::new(frames), "text/plain", &counter);
    let server = rig.serve(rig.layer(), handler).await;
    // hyper closes the connection, with or without a head before.
    server.begin(post("ada", "k", "{}"));
    rig.saw("UNSTORABLE", 1).await;
    is_unknown(&server, &counter).await;
}

#[tokio::test]
async fn what_there_was_of_a_broken_body_is_handed_on_and_then_its_error() {
    let (sender, frames) = Frames::new();
    sender.send(data(b"ha")).unwrap();
    sender.send(data(b"lf")).unwrap();
    sender.send(Err("broken".into())).unwrap();
    let frames = Arc::new(Mutex::new(Some(frames)));
    let inner = tower::service_fn(move |_: Request<idemp_tower::Body<Full<Bytes>>>| {
        let body = frames.lock().unwrap().take().expect("executed once");
        std::future::ready(Ok::<_, Infallible>(Response::new(body)))
    });
    let layer = IdempotencyLayer::unscoped(Rig::new().idem);
    let service = ServiceBuilder::new().layer(layer).service(inner);
    let mut body = service
        .oneshot(post("ada", "k", "{}"))
        .await
        .unwrap()
        .into_body();
    let mut seen = Vec::new();
    while let Some(frame) = body.frame().await {
        seen.push(frame.map(|frame| frame.into_data().unwrap()));
    }
    let expected = [Ok("ha".into()), Ok("lf".into()), Err("broken".to_owned())];
    assert_eq!(seen, expected);
}

#[tokio::test]
async fn an_answer_that_is_not_as_long_as_it_says_ends_as_it_would_and_is_not_replayed() {
    for (told, sent) in [("10", "abc"), ("2", "ab")] {
        let (rig, counter) = (Rig::new(), Counter::default());
        let handler = on_post({
            let counter = counter.clone();
            move || async move {
                counter.next();
                let (sender, frames) = Frames::new();
                sender.send(data(b"abc")).unwrap();
                Response::builder()
                    .header("content-length", told)
                    .body(Body::new(frames))
                    .unwrap()
            }
        });
        let server = rig.serve(rig.layer(), handler).await;
        let request = "POST /tasks HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\nx-user: ada\r\n\
            idempotency-key: k\r\ncontent-type: application/json\r\ncontent-length: 2\r\n\r\n{}";
        let answer = server.raw(request.as_bytes()).await;
        assert!(answer.ends_with(&format!("\r\n\r\n{sent}")), "{answer}");
        is_unknown(&server, &counter).await;
    }
}

#[tokio::test]
async fn a_body_that_panics_is_not_executed_again() {
    struct Panics;
    impl http_body::Body for Panics {
        type Data = Bytes;
        type Error = String;
        fn poll_frame(
            self: std::pin::Pin<&mut Self>,
            _: &mut std::task::Context<'_>,
        ) -> std::task::Poll<Option<Result<Frame<Bytes>, String>>> {
            panic!("the body of this test panics");
        }
    }
    let (rig, counter) = (Rig::new(), Counter::default());
    let server = rig
        .serve(rig.layer(), once(Body::new(Panics), "text/plain", &counter))
        .await;
    assert_eq!(server.post("ada", "k", "{}").await.status.as_u16(), 500);
    is_unknown(&server, &counter).await;
}

#[tokio::test]
async fn a_response_with_trailers_is_passed_on_with_them() {
    let (rig, counter) = (Rig::new(), Counter::default());
    let (sender, frames) = Frames::new();
    sender.send(data(b"body")).unwrap();
    let mut trailers = HeaderMap::new();
    trailers.insert("x-sum", "7".parse().unwrap());
    sender.send(Ok(Frame::trailers(trailers.clone()))).unwrap();
    drop(sender);
    let (body, inner) = (Mutex::new(Some(frames)), counter.clone());
    let body = Arc::new(body);
    let handler = on_post(move || async move {
        inner.next();
        let body = Body::new(body.lock().unwrap().take().expect("executed once"));
        Response::builder()
            .header("trailer", "x-sum")
            .body(body)
            .unwrap()
    });
    let server = rig.serve(rig.layer(), handler).await;
    let mut request = post("ada", "k", "{}");
    request
        .headers_mut()
        .insert("te", "trailers".parse().unwrap());
    let first = server
        .open(request)
        .await
        .into_body()
        .collect()
        .await
        .unwrap();
    assert_eq!(first.trailers(), Some(&trailers));
    assert_eq!(first.to_bytes(), "body");
    is_unknown(&server, &counter).await;
}

#[tokio::test]
async fn headers_that_are_too_many_to_store_reach_their_client() {
    let (rig, counter) = (Rig::new(), Counter::default());
    let handler = {
        let counter = counter.clone();
        on_post(move || async move {
            counter.next();
            let mut response = Response::builder();
            for i in 0..65 {
                response = response.header("link", format!("</{i}>"));
            }
            response.body(Body::from("ok")).unwrap()
        })
    };
    let server = rig.serve(rig.layer(), handler).await;
    let first = server.post("ada", "k", "{}").await;
    assert_eq!(
        (first.headers.get_all("link").iter().count(), first.text()),
        (65, "ok")
    );
    is_unknown(&server, &counter).await;
}
