//! A server on a free port, a client that sends what it is told, and what was observed.

use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::http::{HeaderMap, Request, Response, StatusCode};
use axum::routing::{MethodRouter, any};
use bytes::Bytes;
use http_body::Frame;
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper_util::rt::TokioIo;
use idemp::testing::Flaky;
use idemp::{AsyncStore, Event, Idempotency, MemoryStore, Scope, StoreError, Swap, Swapped};
use idemp_tower::{IdempotencyLayer, ScopeError};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Notify, mpsc, oneshot, watch};
use tokio::task::JoinHandle;

pub(crate) type Store = Arc<Flaky<MemoryStore>>;
pub(crate) type Layer = IdempotencyLayer<Store>;

/// Longer than anything here takes: what waits for so long has failed.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

/// Who asks, as an outer layer would have found out.
#[derive(Clone)]
struct User(String);

/// The façade, its store, and the events so far.
pub(crate) struct Rig {
    pub(crate) idem: Idempotency<Store>,
    pub(crate) store: Store,
    events: Events,
}

/// The word and the line of each event.
type Events = watch::Receiver<Vec<(&'static str, String)>>;

impl Rig {
    pub(crate) fn new() -> Self {
        Self::with(MemoryStore::new(), |builder| builder)
    }

    pub(crate) fn with(
        store: MemoryStore,
        set: impl FnOnce(idemp::Builder<Store>) -> idemp::Builder<Store>,
    ) -> Self {
        let store = Arc::new(Flaky::new(store));
        let (observer, events) = observing();
        let builder = Idempotency::builder(store.clone()).observer(observer);
        let idem = set(builder).build();
        Self {
            idem,
            store,
            events,
        }
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
        self.events.borrow().iter().map(|(word, _)| *word).collect()
    }

    /// The lines of the events so far.
    pub(crate) fn lines(&self) -> Vec<String> {
        self.events
            .borrow()
            .iter()
            .map(|(_, line)| line.clone())
            .collect()
    }

    /// The events so far, to be asked later.
    pub(crate) fn events(&self) -> Events {
        self.events.clone()
    }

    /// Waits until an event with this word has come so many times.
    pub(crate) async fn saw(&self, word: &str, times: usize) {
        saw(&self.events, word, times).await;
    }

    /// A server with `handler` behind `layer`.
    pub(crate) async fn serve(&self, layer: Layer, handler: MethodRouter) -> Server {
        Server::start(Router::new().route("/tasks", handler).layer(layer)).await
    }
}

/// An observer, and what it was told.
fn observing() -> (impl idemp::Observer, Events) {
    let (told, events) = watch::channel(Vec::new());
    let observer = move |event: &Event<'_>| {
        let event = (event.kind().word(), event.to_string());
        told.send_modify(|events: &mut Vec<(&'static str, String)>| events.push(event));
    };
    (observer, events)
}

async fn saw(events: &Events, word: &str, times: usize) {
    let mut events = events.clone();
    let count = |events: &Vec<(&str, String)>| events.iter().filter(|(w, _)| *w == word).count();
    let seen = tokio::time::timeout(PATIENCE, events.wait_for(|events| count(events) >= times));
    let seen = seen.await.is_ok();
    assert!(seen, "no {word} in {:?}", events.borrow());
}

/// A store before that of a rig which answers when its gate is open.
#[derive(Clone)]
pub(crate) struct Gate {
    open: watch::Sender<bool>,
    events: Arc<Mutex<Option<Events>>>,
}

/// See [`Gate`].
pub(crate) struct Gated {
    store: Store,
    gate: Gate,
}

impl Gate {
    /// A façade on the rig's store, behind this gate, with events of its own.
    pub(crate) fn before(&self, rig: &Rig) -> Idempotency<Gated> {
        let (observer, events) = observing();
        *self.events.lock().unwrap() = Some(events);
        let gated = Gated {
            store: rig.store.clone(),
            gate: self.clone(),
        };
        Idempotency::builder(gated).observer(observer).build()
    }

    pub(crate) fn shut(&self) {
        self.open.send_replace(false);
    }

    pub(crate) fn open(&self) {
        self.open.send_replace(true);
    }

    /// Waits until an event with this word has come.
    pub(crate) async fn saw(&self, word: &str) {
        let events = self
            .events
            .lock()
            .unwrap()
            .clone()
            .expect("a façade behind the gate");
        saw(&events, word, 1).await;
    }
}

impl Default for Gate {
    fn default() -> Self {
        let (open, events) = (watch::Sender::new(true), Arc::default());
        Self { open, events }
    }
}

impl AsyncStore for Gated {
    async fn swap(&self, swap: &Swap) -> Result<Swapped, StoreError> {
        let opened = self
            .gate
            .open
            .subscribe()
            .wait_for(|open| *open)
            .await
            .is_ok();
        assert!(opened);
        AsyncStore::swap(&self.store, swap).await
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

    /// Sends a request, and gives the head of the response.
    pub(crate) async fn open(&self, request: Request<Full<Bytes>>) -> Response<Incoming> {
        tokio::time::timeout(PATIENCE, open(self.address, request))
            .await
            .expect("an answer in time")
    }

    /// Sends a request in a task. Aborted, it closes the connection.
    pub(crate) fn begin(&self, request: Request<Full<Bytes>>) -> JoinHandle<()> {
        let address = self.address;
        tokio::spawn(async move {
            let stream = TcpStream::connect(address).await.unwrap();
            let (mut client, connection) =
                hyper::client::conn::http1::handshake(TokioIo::new(stream))
                    .await
                    .unwrap();
            let response = client.send_request(request);
            _ = tokio::join!(connection, response);
        })
    }

    /// Sends bytes as they are, and reads to the end of the connection.
    pub(crate) async fn raw(&self, request: &[u8]) -> String {
        let mut stream = TcpStream::connect(self.address).await.unwrap();
        stream.write_all(request).await.unwrap();
        let mut answer = String::new();
        let read = stream.read_to_string(&mut answer);
        tokio::time::timeout(PATIENCE, read)
            .await
            .expect("an answer in time")
            .unwrap();
        answer
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

/// Sends a request on a connection of its own, and gives the head of the response.
async fn open(address: SocketAddr, request: Request<Full<Bytes>>) -> Response<Incoming> {
    let stream = TcpStream::connect(address).await.unwrap();
    let (mut client, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream))
        .await
        .unwrap();
    tokio::spawn(connection);
    client.send_request(request).await.unwrap()
}

/// Sends a request on a connection of its own, and reads the response.
pub(crate) async fn exchange(address: SocketAddr, request: Request<Full<Bytes>>) -> Answer {
    let (parts, body) = open(address, request).await.into_parts();
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

/// A handler that says when it was entered, and goes on when it is told.
#[derive(Clone, Default)]
pub(crate) struct Held {
    entered: Arc<Notify>,
    go: Arc<Notify>,
}

impl Held {
    /// In the handler.
    pub(crate) async fn hold(&self) {
        self.entered.notify_one();
        self.go.notified().await;
    }

    /// Waits until a handler was entered.
    pub(crate) async fn entered(&self) {
        tokio::time::timeout(PATIENCE, self.entered.notified())
            .await
            .expect("entered in time");
    }

    /// Lets one handler go on.
    pub(crate) fn go(&self) {
        self.go.notify_one();
    }

    /// A handler that holds, and then answers 201 with the number of the call.
    pub(crate) fn handler(&self, counter: &Counter) -> MethodRouter {
        let (held, counter) = (self.clone(), counter.clone());
        any(move || async move {
            let number = counter.next();
            held.hold().await;
            (StatusCode::CREATED, number.to_string())
        })
    }
}

/// The frames that a test sends, as a body of unknown length.
pub(crate) struct Frames(mpsc::UnboundedReceiver<Result<Frame<Bytes>, String>>);

pub(crate) type FrameSender = mpsc::UnboundedSender<Result<Frame<Bytes>, String>>;

impl Frames {
    pub(crate) fn new() -> (FrameSender, Self) {
        let (sender, frames) = mpsc::unbounded_channel();
        (sender, Self(frames))
    }
}

impl http_body::Body for Frames {
    type Data = Bytes;
    type Error = String;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, String>>> {
        self.0.poll_recv(cx)
    }
}
