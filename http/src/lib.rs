//! Idempotency as a tower layer: for axum, hyper, and anything on tower.
//!
//! A client sends an `Idempotency-Key` with a request that must not be executed twice. The
//! first one is executed and its answer is stored; every retry gets that answer, byte for byte,
//! with `Idempotent-Replayed: true`. What each request gets is decided by [`idemp`], whose
//! `http` module holds the rules of the header; this crate only carries them out.
//!
//! ```
//! use axum::{Extension, Json, Router, http::StatusCode, middleware, routing::post};
//! use idemp::{Idempotency, MemoryStore, Scope};
//! use idemp_tower::{Execution, IdempotencyLayer, ScopeError};
//!
//! #[derive(Clone)]
//! struct User(String);
//!
//! async fn create(Extension(user): Extension<User>, execution: Option<Extension<Execution>>)
//!     -> (StatusCode, Json<String>)
//! {
//!     // `execution` is there where the request came with a key.
//!     let attempt = execution.map_or(1, |Extension(execution)| execution.attempt());
//!     (StatusCode::CREATED, Json(format!("a task of {}, attempt {attempt}", user.0)))
//! }
//!
//! # async fn authenticate(request: axum::extract::Request, next: middleware::Next) -> axum::response::Response {
//! #     next.run(request).await
//! # }
//! let idem = Idempotency::new(MemoryStore::new());
//! let layer = IdempotencyLayer::new(idem, |request| {
//!     let user = request.extensions.get::<User>().ok_or(ScopeError::Unauthenticated)?;
//!     Ok(Scope::new([user.0.as_str(), "/api/video-tasks"])?)
//! });
//! let app: Router = Router::new()
//!     .route("/api/video-tasks", post(create).layer(layer.clone().required()))
//!     .layer(middleware::from_fn(authenticate)); // outside: it runs first
//!
//! # async fn serve(app: Router, layer: IdempotencyLayer<MemoryStore>) -> std::io::Result<()> {
//! let listener = tokio::net::TcpListener::bind("127.0.0.1:3000").await?;
//! let stop = async { /* a signal */ };
//! axum::serve(listener, app).with_graceful_shutdown(stop).await?;
//! layer.idle().await; // what still runs for clients that are gone
//! # Ok(())
//! # }
//! ```
//!
//! # Where it stands
//!
//! - *Behind* authentication and authorisation: a replay is given only to a caller who could have
//!   made the request, and the scope names that caller.
//! - *Before* everything that could refuse a retry: rate limits, concurrency limits, validation.
//!   A replay is answered even when a new request would be refused, and also while the inner
//!   service is not ready. So the layer is always ready, and hands no back pressure on.
//! - *Inside* of what belongs to each answer: CORS, compression, request ids, tracing. None of
//!   their headers are stored, so they have to write them on a replay as well.
//! - At the level of the router where the path is whole: axum strips the prefix of a nested
//!   router, and the path is a part of what makes two requests the same.
//!
//! # What it does
//!
//! | a request | gets |
//! |---|---|
//! | without a key, or with a method other than POST and PATCH | the service, untouched and streaming |
//! | without a key where one is [`required`](IdempotencyLayer::required) | 400 `IDEMPOTENCY_KEY_MISSING` |
//! | with a malformed key, a list, or several | 400 `IDEMPOTENCY_KEY_INVALID` |
//! | with a new key | the service |
//! | again | the stored answer, `Idempotent-Replayed: true` |
//! | again, with another payload | 409 `IDEMPOTENCY_KEY_CONFLICT` |
//! | again, while the first one is executed | 409 `IDEMPOTENCY_IN_PROGRESS`, `Retry-After` |
//! | again, where nobody knows what came of the first one | 409 `IDEMPOTENCY_OUTCOME_UNKNOWN` |
//! | with a body over the limit | 413 `IDEMPOTENCY_BODY_TOO_LARGE` |
//! | while there are [too many owners](IdempotencyLayer::max_owners) | 503 `IDEMPOTENCY_OVERLOADED`, `Retry-After` |
//! | in a process that stood still for a lease before the service was called | 503 `IDEMPOTENCY_STORE_UNAVAILABLE`, `Retry-After` |
//! | inside of another layer with the same scope | 500 `IDEMPOTENCY_NESTED`: give the inner one a scope of its own |
//! | while the store is down | 503 `IDEMPOTENCY_STORE_UNAVAILABLE`, or the service, [if asked for](IdempotencyLayer::fail_open) |
//!
//! [`Profile::Ietf`] tells the same as problem details. Each refusal names the present request, by
//! its `x-request-id` where there is one, in its body and in `x-request-id`.
//!
//! An execution runs to its end, also when its client goes away: what is left of it then moves
//! into a task of its own. Until then it runs in the task of the connection, so task-local values
//! and tracing spans are those that the service would have without the layer. What comes of it:
//!
//! - The answer is stored before its first byte goes out, and goes out unchanged. What is stored
//!   is the status, the body and the headers that [`HeaderFilter`] keeps.
//! - The status decides, see [`StatusTable`]: 2xx and 3xx are remembered; 4xx forget the key, so
//!   that the client mends its request and keeps its key; 5xx release it for the same payload.
//! - A handler that panics is answered with a plain 500 and releases, or what the table says. The
//!   panic hook has reported it; the connection goes on. An error of the inner service is handed
//!   on, whatever becomes of the slot.
//! - An answer that cannot be stored reaches its client all the same, and retries are told that
//!   the outcome is unknown: a body [over the limit](IdempotencyLayer::response_limit), one that
//!   breaks off or is not as long as `content-length` says, one with trailers (so every answer of gRPC), one that
//!   [does not end](IdempotencyLayer::stream_after), `text/event-stream`.
//! - Where the store fails when the answer is to be stored, the client has its answer, and it is
//!   tried again in the background while the lease lives. Nothing is executed again within the
//!   lease.
//! - An owner whose lease was taken over answers with what the winner stored, or that somebody
//!   else is at work.
//!
//! A request with a key needs a tokio runtime with its timers.
//!
//! The request body is read whole, up to [a limit](IdempotencyLayer::body_limit), before the
//! service gets it. Apart from that the service sees the request as it came, with an
//! [`Execution`] among its extensions.
//!
//! # What it cannot do
//!
//! A lapsed owner may still be executing. Where that would cost money, check
//! [`Execution::remaining`] before the effect, hand [`Execution::fence`] to what carries it out,
//! or choose a policy that [fences](idemp::Lapse::Fence) instead of taking over.

mod answer;
mod body;
mod collect;
mod detached;
mod execution;
mod inner;
mod label;
mod layer;
mod owner;
mod payload;
mod scope;
mod service;
mod settle;
mod within;

pub use body::Body;
pub use execution::Execution;
pub use label::json_label;
pub use layer::IdempotencyLayer;
pub use scope::ScopeError;
pub use service::{IdempotencyService, ResponseFuture};

pub use idemp::http::{
    Disposition, HeaderFilter, KeyRequirement, Methods, Profile, StatusTable, Strictness,
};
