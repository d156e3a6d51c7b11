//! What the benchmarks of the tower layer serve: a service that does no more than a create has to.
//! Its tasks are in memory, or, as those of a service that sells something, in a file.

use std::collections::HashMap;
use std::path::Path;
use std::sync::{Arc, Mutex};

use axum::body::Bytes;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::IntoResponse;
use axum::routing::post;
use axum::{Json, Router};
use idemp::{Entropy, Idempotency, MemoryStore, Policy, Scope, SystemEntropy};
use idemp_tower::IdempotencyLayer;
use rusqlite::Connection;
use serde::{Deserialize, Serialize};

/// The path of its one route, which takes a POST.
pub const PATH: &str = "/api/video-tasks";
/// It forgets its orders when it has so many.
const ORDERS: usize = 10_000;

/// The service: it reads the order, checks it, keeps it under a random id, and answers 201 with the
/// task and where it is.
pub fn router(orders: Orders) -> Router {
    Router::new().route(PATH, post(create).with_state(orders))
}

/// Where the service keeps its orders.
#[derive(Clone)]
pub enum Orders {
    /// In memory.
    Memory(Arc<Mutex<HashMap<String, Order>>>),
    /// In an SQLite file, synced before the answer goes out.
    File(Arc<Mutex<Connection>>),
}

impl Orders {
    /// In memory.
    #[must_use]
    pub fn in_memory() -> Self {
        Self::Memory(Arc::default())
    }

    /// In a new file, set up as that of `examples/video_tasks`.
    ///
    /// # Errors
    /// Where it cannot be written.
    pub fn in_file(path: &Path) -> rusqlite::Result<Self> {
        let connection = Connection::open(path)?;
        connection.pragma_update(None, "journal_mode", "wal")?;
        connection.pragma_update(None, "synchronous", "full")?;
        connection.execute_batch(
            "CREATE TABLE orders (task_id TEXT PRIMARY KEY, seconds INTEGER, prompt TEXT, seed INTEGER)",
        )?;
        Ok(Self::File(Arc::new(Mutex::new(connection))))
    }

    async fn keep(&self, task_id: String, order: Order) {
        match self {
            Self::Memory(orders) => {
                let mut kept = orders.lock().expect("nothing panics under it");
                if kept.len() == ORDERS {
                    kept.clear();
                }
                kept.insert(task_id, order);
            }
            Self::File(file) => {
                let file = file.clone();
                let written = tokio::task::spawn_blocking(move || {
                    let file = file.lock().expect("nothing panics under it");
                    let mut insert =
                        file.prepare_cached("INSERT INTO orders VALUES (?1, ?2, ?3, ?4)")?;
                    insert.execute((task_id, order.seconds, order.prompt, order.seed as i64))
                });
                written.await.expect("no panic").expect("it is written");
            }
        }
    }
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
pub struct Order {
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

async fn create(State(orders): State<Orders>, Json(order): Json<Order>) -> impl IntoResponse {
    assert!(order.seconds > 0 && order.prompt.len() < 2000);
    let task = Task {
        task_id: format!("vt_{:032x}", u128::from_be_bytes(SystemEntropy.bytes())),
        status: "pending",
        seconds: order.seconds,
        seed: order.seed,
    };
    orders.keep(task.task_id.clone(), order).await;
    let location = format!("/api/video-tasks/{}", task.task_id);
    (
        StatusCode::CREATED,
        [(header::LOCATION, location)],
        Json(task),
    )
}
