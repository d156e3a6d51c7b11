#![doc = include_str!("../README.md")]

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
mod stream;

pub use fault::RedisFault;
pub use options::RedisBuilder;
pub use script::SWAP_SCRIPT;
pub use store::RedisStore;
