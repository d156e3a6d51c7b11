//! Other stacks than axum's router: route layers, hyper alone, a service that fails.

use std::convert::Infallible;
use std::sync::Arc;

use axum::Router;
use axum::http::{Request, Response, StatusCode};
use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto;
use hyper_util::service::TowerToHyperService;
use idemp::testing::Fault;
use idemp_tower::{Body, IdempotencyLayer};
use tokio::net::TcpListener;
use tower::{ServiceBuilder, ServiceExt, service_fn};

use crate::harness::{Counter, Held, PATIENCE, Rig, Server, exchange, post};

#[tokio::test]
async fn one_route_has_the_layer_and_another_has_not() {
    let (rig, with, without) = (Rig::new(), Counter::default(), Counter::default());
    let router = Router::new()
        .route("/tasks", with.handler())
        .route_layer(rig.layer())
        .route("/free", without.handler());
    let server = Server::start(router).await;
    for _ in 0..2 {
        server.post("ada", "k", "{}").await;
        let mut request = post("ada", "k", "{}");
        *request.uri_mut() = "/free".parse().unwrap();
        server.send(request).await;
    }
    assert_eq!((with.count(), without.count()), (1, 2));
}

#[tokio::test]
async fn a_method_router_and_a_service_builder_take_it() {
    let (rig, counter) = (Rig::new(), Counter::default());
    let stack = ServiceBuilder::new()
        .layer(rig.layer())
        .concurrency_limit(4);
    let router = Router::new().route("/tasks", counter.handler().layer(stack));
    let server = Server::start(router).await;
    for _ in 0..2 {
        assert_eq!(server.post("ada", "k", "{}").await.text(), "1");
    }
}

#[tokio::test]
async fn hyper_serves_it_without_axum() {
    let counter = Counter::default();
    let inner = {
        let counter = counter.clone();
        service_fn(move |request: Request<Body<Incoming>>| {
            let counter = counter.clone();
            async move {
                let body = request.into_body().collect().await.unwrap().to_bytes();
                let answer = [counter.next().to_string().as_bytes(), &body].concat();
                Ok::<_, Infallible>(Response::new(Full::new(Bytes::from(answer))))
            }
        })
    };
    let idem = idemp::Idempotency::new(idemp::MemoryStore::new());
    let service = ServiceBuilder::new()
        .layer(IdempotencyLayer::unscoped(idem))
        .service(inner);
    let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    let address = listener.local_addr().unwrap();
    let server = tokio::spawn(async move {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            let service = TowerToHyperService::new(service.clone());
            tokio::spawn(async move {
                let builder = auto::Builder::new(TokioExecutor::new());
                let _ = builder
                    .serve_connection(TokioIo::new(stream), service)
                    .await;
            });
        }
    });
    let first = exchange(address, post("ada", "k", "{}")).await;
    let retry = exchange(address, post("ada", "k", "{}")).await;
    assert_eq!((first.text(), first.is_replay()), ("1{}", false));
    assert_eq!((retry.text(), retry.is_replay()), ("1{}", true));
    server.abort();
}

#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[error("the inner service failed")]
struct Failed;

#[tokio::test]
async fn an_error_of_the_inner_service_is_handed_on_even_if_the_release_fails() {
    for faults in [[Fault::None; 3], [Fault::None, Fault::Lost, Fault::Lost]] {
        let (rig, counter) = (Rig::new(), Counter::default());
        let inner = {
            let counter = counter.clone();
            service_fn(move |_: Request<Body<Full<Bytes>>>| {
                let failed = counter.next() == 1;
                let answer = Response::new(Full::new(Bytes::from_static(b"done")));
                std::future::ready(if failed { Err(Failed) } else { Ok(answer) })
            })
        };
        let layer = IdempotencyLayer::unscoped(rig.idem.clone());
        let service = ServiceBuilder::new().layer(layer).service(inner);
        rig.store.next(faults);
        let first = service.clone().oneshot(post("ada", "k", "{}")).await;
        assert_eq!(first.unwrap_err(), Failed);
        rig.saw("RELEASED", 1).await;
        let retry = service.oneshot(post("ada", "k", "{}")).await.unwrap();
        assert_eq!(retry.status(), StatusCode::OK);
        assert_eq!(counter.count(), 2);
    }
}

#[tokio::test]
async fn a_service_that_panics_when_it_is_called_is_a_500_too() {
    let rig = Rig::new();
    let inner = service_fn(|_: Request<Body<Full<Bytes>>>| -> std::future::Ready<
        Result<Response<Full<Bytes>>, Infallible>,
    > { panic!("the service of this test panics when it is called") });
    let service = ServiceBuilder::new()
        .layer(IdempotencyLayer::unscoped(rig.idem.clone()))
        .service(inner);
    let answer = service.oneshot(post("ada", "k", "{}")).await.unwrap();
    assert_eq!(answer.status(), StatusCode::INTERNAL_SERVER_ERROR);
    assert_eq!(rig.words(), ["CHECK", "MISS", "RELEASED"]);
}

#[tokio::test]
async fn the_answer_is_stored_before_it_goes_out() {
    let (rig, counter) = (Rig::new(), Counter::default());
    let seen = Arc::new(std::sync::Mutex::new(Vec::new()));
    let outer = {
        let (events, seen) = (rig.events(), seen.clone());
        axum::middleware::map_response(move |response: axum::response::Response| {
            seen.lock()
                .unwrap()
                .extend(events.borrow().iter().map(|(word, _)| *word));
            async { response }
        })
    };
    let router = Router::new().route("/tasks", counter.handler());
    let server = Server::start(router.layer(rig.layer()).layer(outer)).await;
    server.post("ada", "k", "{}").await;
    assert_eq!(
        *seen.lock().unwrap(),
        ["CHECK", "MISS", "STORE START", "STORED"]
    );
}

#[tokio::test]
async fn a_replay_says_its_length_without_a_server() {
    let inner = service_fn(|_: Request<Body<Full<Bytes>>>| {
        let answer = Response::new(Full::new(Bytes::from_static(b"done")));
        std::future::ready(Ok::<_, Infallible>(answer))
    });
    let service = ServiceBuilder::new()
        .layer(IdempotencyLayer::unscoped(Rig::new().idem))
        .service(inner);
    for length in [None, Some("4")] {
        let answer = service
            .clone()
            .oneshot(post("ada", "k", "{}"))
            .await
            .unwrap();
        let stated = answer.headers().get("content-length");
        assert_eq!(stated.map(|value| value.to_str().unwrap()), length);
    }
}

#[tokio::test]
async fn the_layer_is_ready_for_a_replay_while_its_inner_service_is_not() {
    let held = Held::default();
    let inner = {
        let held = held.clone();
        service_fn(move |_: Request<Body<Full<Bytes>>>| {
            let held = held.clone();
            async move {
                held.hold().await;
                Ok::<_, Infallible>(Response::new(Full::new(Bytes::from_static(b"done"))))
            }
        })
    };
    let service = ServiceBuilder::new()
        .layer(IdempotencyLayer::unscoped(Rig::new().idem))
        .concurrency_limit(1)
        .service(inner);
    let send = |key| service.clone().oneshot(post("ada", key, "{}"));
    let (first, ()) = tokio::join!(send("done"), async {
        held.entered().await;
        held.go();
    });
    assert!(!first.unwrap().headers().contains_key("idempotent-replayed"));
    let (second, ()) = tokio::join!(send("held"), async {
        held.entered().await;
        let replay = tokio::time::timeout(PATIENCE, send("done")).await;
        let replay = replay.expect("an answer in time").unwrap();
        assert!(replay.headers().contains_key("idempotent-replayed"));
        held.go();
    });
    assert_eq!(second.unwrap().status(), StatusCode::OK);
}
