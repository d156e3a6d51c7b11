//! The store of `idemp` that lives in one SQLite file.
//!
//! [`SqliteStore`] is the store, [`SqliteOptions`] how it is opened. The README says what it
//! guarantees, what it takes to share a file, and what SQLite cannot tell.

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
