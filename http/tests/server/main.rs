//! The layer in an axum server, over HTTP on 127.0.0.1.

mod harness;
mod replay;
