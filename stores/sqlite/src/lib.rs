//! The store of `idemp` that lives in one SQLite file.
//!
//! See [`SqliteStore`], and the README for what it guarantees and what it does not.

mod error;
mod file;
mod options;
mod queue;
mod row;
mod store;
mod writer;

pub use error::{FileError, QueueFull};
pub use options::{Durability, SqliteOptions};
pub use store::SqliteStore;
