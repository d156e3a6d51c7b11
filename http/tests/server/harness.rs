//! A server on a free port, a client that sends what it is told, and what was observed.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::http::{HeaderMap, Request, StatusCode};
use axum::routing::{MethodRouter, any};
use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper_util::rt::TokioIo;
use idemp::testing::Flaky;
use idemp::{Event, EventKind, Idempotency, MemoryStore, Scope};
use idemp_tower::{IdempotencyLayer, ScopeError};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{oneshot, watch};
use tokio::task::JoinHandle;

pub(crate) type Store = Arc<Flaky<MemoryStore>>;
pub(crate) type Layer = IdempotencyLayer<Store>;

/// Longer than anything here takes: what waits for so long has failed.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

/// Who asks, as an outer layer would have found out.
#[derive(Clone)]
struct User(String);

/// The layer, its store, and the words of the events so far.
pub(crate) struct Rig {
    pub(crate) idem: Idempotency<Store>,
    pub(crate) store: Store,
    words: watch::Receiver<Vec<&'static str>>,
}

impl Rig {
    pub(crate) fn new() -> Self {
        Self::with(MemoryStore::new(), |builder| builder)
    }

    pub(crate) fn with(
        store: MemoryStore,
        set: impl FnOnce(idemp::Builder<Store>) -> idemp::Builder<Store>,
    ) -> Self {
        let store = Arc::new(Flaky::new(store));
        let (told, words) = watch::channel(Vec::new());
        let observer = move |event: &Event<'_>| {
            told.send_modify(|words: &mut Vec<&'static str>| words.push(event.kind().word()));
        };
        let builder = Idempotency::builder(store.clone()).observer(observer);
        let idem = set(builder).build();
        Self { idem, store, words }
    }

    /// With the user as scope.
    pub(crate) fn layer(&self) -> Layer {
        IdempotencyLayer::new(self.idem.clone(), |request| {
            let user = request.extensions.get::<User>();
            let user = user.ok_or(ScopeError::Unauthenticated)?;
            Ok(Scope::new([user.0.as_str()])?)
        })
    }

    /// The words of the events so far.
    pub(crate) fn words(&self) -> Vec<&'static str> {
        self.words.borrow().clone()
    }

    /// Waits until an event of this kind has come so many times.
    pub(crate) async fn saw(&self, kind: EventKind, times: usize) {
        let mut words = self.words.clone();
        let count = |words: &Vec<&str>| words.iter().filter(|w| **w == kind.word()).count();
        let seen = words.wait_for(|words| count(words) >= times);
        let seen = tokio::time::timeout(PATIENCE, seen).await;
        assert!(seen.is_ok(), "no {} in {:?}", kind.word(), self.words());
    }

    /// A server with `handler` behind `layer`.
    pub(crate) async fn serve(&self, layer: Layer, handler: MethodRouter) -> Server {
        Server::start(Router::new().route("/tasks", handler).layer(layer)).await
    }
}

/// A running server; dropped, it stops at once.
pub(crate) struct Server {
    pub(crate) address: SocketAddr,
    stop: Option<oneshot::Sender<()>>,
    running: JoinHandle<()>,
}

impl Server {
    /// Serves `router`, behind a layer that takes the header `x-user` for the user.
    pub(crate) async fn start(router: Router) -> Self {
        let router = router.layer(axum::middleware::map_request(
            async |mut request: Request<Body>| {
                let user = request.headers().get("x-user");
                if let Some(user) = user.map(|user| user.to_str().unwrap().to_owned()) {
                    request.extensions_mut().insert(User(user));
                }
                request
            },
        ));
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let address = listener.local_addr().unwrap();
        let (stop, stopped) = oneshot::channel::<()>();
        let running = tokio::spawn(async move {
            let serving = axum::serve(listener, router);
            let stopped = async { _ = stopped.await };
            serving.with_graceful_shutdown(stopped).await.unwrap();
        });
        Self {
            address,
            stop: Some(stop),
            running,
        }
    }

    /// Stops gracefully.
    pub(crate) async fn stop(mut self) {
        self.stop.take().unwrap().send(()).unwrap();
        (&mut self.running).await.unwrap();
    }

    /// Sends a request on a connection of its own.
    pub(crate) async fn send(&self, request: Request<Full<Bytes>>) -> Answer {
        tokio::time::timeout(PATIENCE, exchange(self.address, request))
            .await
            .expect("an answer in time")
    }

    /// Posts `body` with the key, as the user.
    pub(crate) async fn post(&self, user: &str, key: &str, body: &str) -> Answer {
        self.send(post(user, key, body)).await
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.running.abort();
    }
}

/// A request as [`Server::post`] sends it.
pub(crate) fn post(user: &str, key: &str, body: &str) -> Request<Full<Bytes>> {
    Request::post("/tasks")
        .header("host", "localhost")
        .header("content-type", "application/json")
        .header("x-user", user)
        .header("idempotency-key", key)
        .body(Full::from(body.to_owned()))
        .unwrap()
}

async fn exchange(address: SocketAddr, request: Request<Full<Bytes>>) -> Answer {
    let stream = TcpStream::connect(address).await.unwrap();
    let (mut client, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream))
        .await
        .unwrap();
    tokio::spawn(connection);
    let response = client.send_request(request).await.unwrap();
    let (parts, body) = response.into_parts();
    Answer {
        status: parts.status,
        headers: parts.headers,
        body: body.collect().await.unwrap().to_bytes(),
    }
}

/// What came back.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
}

impl Answer {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(|value| value.to_str().unwrap())
    }

    pub(crate) fn text(&self) -> &str {
        std::str::from_utf8(&self.body).unwrap()
    }

    pub(crate) fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body).unwrap()
    }

    /// The code of a refusal, in either profile.
    pub(crate) fn code(&self) -> String {
        self.json()["code"].as_str().expect("a code").to_owned()
    }

    pub(crate) fn is_replay(&self) -> bool {
        self.header("idempotent-replayed") == Some("true")
    }
}

/// Counts its calls; the number is the answer.
#[derive(Clone, Default)]
pub(crate) struct Counter(Arc<AtomicUsize>);

impl Counter {
    pub(crate) fn count(&self) -> usize {
        self.0.load(Ordering::SeqCst)
    }

    pub(crate) fn next(&self) -> usize {
        self.0.fetch_add(1, Ordering::SeqCst) + 1
    }

    /// A handler that answers 201 with the number of the call.
    pub(crate) fn handler(&self) -> MethodRouter {
        let counter = self.clone();
        any(move || async move { (StatusCode::CREATED, counter.next().to_string()) })
    }
}
