//! PostgreSQL and Redis for tests: their own, on free loopback ports, in temporary folders.
//!
//! [`Postgres`], [`Redis`], [`RedisPair`] and [`RedisCluster`] start real servers and can kill
//! them; [`Proxy`] stands between a client and a server and breaks connections on command. All of
//! it blocks and is meant for tests alone: what goes wrong is a panic that says why.
//!
//! A server ends with the value that stands for it, and with the process that started it however
//! that ends: see [`Postgres::shared`] and [`Redis::shared`], which are never dropped.

#![cfg(unix)]

mod certificate;
mod cluster;
mod keeper;
mod pair;
mod port;
mod postgres;
mod programs;
mod proxy;
mod redis;
mod resp;
mod server;

pub use certificate::certificate;
pub use cluster::RedisCluster;
pub use pair::RedisPair;
pub use postgres::Postgres;
pub use programs::{postgres_folder, redis_server};
pub use proxy::Proxy;
pub use redis::Redis;
pub use resp::Reply;
