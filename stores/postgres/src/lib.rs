#![doc = include_str!("../README.md")]

mod ask;
mod error;
mod locking;
mod migrate;
mod names;
mod options;
mod prepared;
mod purge;
pub mod sql;
mod store;
mod within;

pub use deadpool_postgres;
pub use error::PostgresError;
pub use locking::Locking;
pub use options::{Commit, PostgresOptions};
#[cfg(feature = "tls")]
pub use rustls;
pub use store::PostgresStore;
pub use tokio_postgres;
pub use within::{Transaction, Within};
