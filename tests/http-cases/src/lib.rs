//! The HTTP cases, run against the tower layer: what `README.md` beside the cases describes.
//!
//! The same files are run against the middleware of the npm package, so that a service in Rust and
//! one in JavaScript give the same answers, header for header. What goes wrong is a panic that
//! names the case and the step.

mod answer;
mod case;
mod client;
mod handler;
mod run;
mod service;
mod stage;

pub use run::{TOPICS, run};

use std::time::Duration;

/// Longer than anything here takes: what waits for so long has failed.
const PATIENCE: Duration = Duration::from_secs(20);
