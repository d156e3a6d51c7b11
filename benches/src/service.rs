//! What the benchmarks of the tower layer serve: a service that does no more than a create has to.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use axum::body::Bytes;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::IntoResponse;
use axum::routing::post;
use axum::{Json, Router};
use idemp::{Entropy, Idempotency, MemoryStore, Policy, Scope, SystemEntropy};
use idemp_tower::IdempotencyLayer;
use serde::{Deserialize, Serialize};

/// The path of its one route, which takes a POST.
pub const PATH: &str = "/api/video-tasks";
/// It forgets its orders when it has so many.
const ORDERS: usize = 10_000;

/// The service: it reads the order, checks it, keeps it under a random id, and answers 201 with the
/// task and where it is.
pub fn router() -> Router {
    Router::new().route(PATH, post(create).with_state(Orders::default()))
}

/// The layer, with a key required, and outcomes that are kept for `retention` in a `store` in
/// memory.
#[must_use]
pub fn layer(policy: Policy, store: MemoryStore) -> IdempotencyLayer<MemoryStore> {
    let idem = Idempotency::builder(store).policy(policy).build();
    IdempotencyLayer::new(idem, |_| Ok(Scope::new(["user"])?)).required()
}

/// 1 KB of JSON: what a client orders.
#[must_use]
pub fn order() -> Bytes {
    let prompt = "a lighthouse at dawn, ".repeat(44);
    format!("{{\"seconds\":5,\"prompt\":\"{prompt}\",\"seed\":1234567890123}}").into()
}

/// What a client orders.
#[derive(Deserialize)]
struct Order {
    seconds: u8,
    prompt: String,
    seed: u64,
}

/// What it gets.
#[derive(Serialize)]
struct Task {
    task_id: String,
    status: &'static str,
    seconds: u8,
    seed: u64,
}

type Orders = Arc<Mutex<HashMap<String, Order>>>;

async fn create(State(orders): State<Orders>, Json(order): Json<Order>) -> impl IntoResponse {
    assert!(order.seconds > 0 && order.prompt.len() < 2000);
    let task = Task {
        task_id: format!("vt_{:032x}", u128::from_be_bytes(SystemEntropy.bytes())),
        status: "pending",
        seconds: order.seconds,
        seed: order.seed,
    };
    let mut kept = orders.lock().expect("nothing panics under it");
    if kept.len() == ORDERS {
        kept.clear(); // a real one has a database
    }
    kept.insert(task.task_id.clone(), order);
    drop(kept);
    let location = format!("/api/video-tasks/{}", task.task_id);
    (
        StatusCode::CREATED,
        [(header::LOCATION, location)],
        Json(task),
    )
}
