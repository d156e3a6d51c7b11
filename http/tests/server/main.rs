//! The layer in an axum server, over HTTP on 127.0.0.1.

mod disposition;
mod harness;
mod key;
mod life;
mod limits;
mod outage;
mod plain;
mod refusal;
mod replay;
mod stall;
mod stream;
