//! The store of [`idemp`] that lives in Redis (7.0 or newer) or Valkey, a cluster of them too.
//!
//! ```no_run
//! # async fn example() -> Result<(), idemp::StoreError> {
//! use idemp::Idempotency;
//! use idemp_redis::RedisStore;
//!
//! let idem = Idempotency::new(RedisStore::connect("redis://127.0.0.1/").await?);
//! # Ok(())
//! # }
//! ```

mod cluster;
mod fault;
mod link;
mod node;
mod options;
mod question;
mod record;
mod script;
mod server;
mod store;

pub use fault::RedisFault;
pub use options::RedisBuilder;
pub use script::SWAP_SCRIPT;
pub use store::RedisStore;
