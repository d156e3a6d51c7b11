//! A service that creates paid work, and creates it once.
//!
//! Two cases, the two uses of [`idemp`]:
//!
//! - [`video`]: `POST /api/video-tasks` with an `Idempotency-Key` header. The layer of
//!   `idemp-tower` stands before the handler, and the handler knows nothing of it.
//! - [`track`]: `POST /api/v1/track`. The key is what the request is about, a tenant and a file
//!   name, and it is held while the analysis is active.
//!
//! `src/main.rs` is the service, `src/bin/play` the player that `cargo xtask demo` runs against it.

pub mod app;
pub mod bearer;
pub mod client;
pub mod database;
pub mod fields;
pub mod problem;
pub mod request_id;
pub mod stop;
pub mod subject;
pub mod track;
pub mod video;
