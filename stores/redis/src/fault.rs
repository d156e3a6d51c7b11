//! [`RedisFault`]: why Redis did not do what it was asked, as the cause of a `StoreError`.

use idemp::StoreError;
use redis::{RedisError, ServerError};
use thiserror::Error;

/// The cause within a [`StoreError`] of this store: `error.source()` downcasts to it.
#[derive(Debug, Clone, Error)]
#[non_exhaustive]
pub enum RedisFault {
    /// The server lacks `SET … NX GET` or another command.
    #[error(
        "the server is of version {version}, which lacks commands; take Redis 7.0 or newer ({wanted})"
    )]
    TooOld {
        /// As the server says it.
        version: String,
        /// The option that needs more, or "any use".
        wanted: &'static str,
    },
    /// The server may evict records that are still kept.
    #[error(
        "the server may evict records: its maxmemory-policy is {policy}; set noeviction, or accept the loss by `allow_eviction`"
    )]
    Evicts {
        /// The server's `maxmemory-policy`.
        policy: String,
    },
    /// The server does not tell what has to be known about it.
    #[error("the server does not tell its {0} by INFO; let this user run INFO")]
    Silent(&'static str),
    /// The server keeps no append-only file that a write could be synced to.
    #[error(
        "the server keeps no append-only file; set appendonly to yes, or wait for replicas alone"
    )]
    NoAppendFile,
    /// The server is a replica, whose answers may be old. A fail-over may be under way.
    #[error("the server is a replica; the primary is needed")]
    Replica,
    /// Fewer copies confirmed the write, in time, than were asked for.
    #[error("too few copies confirmed the write in time: {reached}, not {wanted}")]
    Unreplicated {
        /// How many confirmed it.
        reached: u64,
        /// How many were asked for.
        wanted: u64,
    },
    /// The server refused, by this code.
    #[error("the server refused: {code}")]
    Refused {
        /// The first word of what it said: `READONLY`, `NOPERM`.
        code: String,
    },
    /// What the server said cannot be understood.
    #[error("the server's reply cannot be understood")]
    Reply,
    /// A claim won, and its slot was replaced or removed before the server told when it won.
    #[error("the slot was claimed, and changed before its deadlines were told")]
    Overtaken,
    /// No node is known to serve the key.
    #[error("no node of the cluster serves the key now")]
    Unserved,
    /// What lies under the key is not a record of this store, or a damaged one.
    #[error("what lies under the key is not a record, or a damaged one")]
    Damaged,
    /// A newer version of this store wrote the record.
    #[error("the record has version {version}; update idemp-redis")]
    Newer {
        /// Of the record.
        version: u8,
    },
    /// A lease or a retention is longer than the server can count.
    #[error("a lease or a retention is longer than 140,000 years")]
    TooLong,
    /// An option is out of its range.
    #[error("{0}")]
    Option(&'static str),
    /// The driver failed: the address, the connection, or the log-in.
    #[error(transparent)]
    Driver(RedisError),
}

impl RedisFault {
    /// What the server said, by its code alone: behind the code may stand what it was asked.
    pub(crate) fn refused(error: &ServerError) -> Self {
        let code = error.code().to_string();
        Self::Refused { code }
    }

    /// Whether another connection, or another node, may know better.
    pub(crate) fn asks_for_another_connection(&self) -> bool {
        match self {
            Self::Driver(_) | Self::Replica | Self::Reply => true,
            Self::Refused { code } => {
                matches!(
                    &**code,
                    "READONLY" | "CLUSTERDOWN" | "MASTERDOWN" | "LOADING"
                )
            }
            _ => false,
        }
    }
}

impl From<RedisError> for RedisFault {
    fn from(error: RedisError) -> Self {
        Self::Driver(error)
    }
}

impl From<RedisFault> for StoreError {
    fn from(fault: RedisFault) -> Self {
        use redis::ErrorKind::{AuthenticationFailed, InvalidClientConfig};
        match &fault {
            RedisFault::Driver(error) if error.is_timeout() => Self::Timeout,
            RedisFault::Driver(error) => match (error.kind(), error.code()) {
                (AuthenticationFailed | InvalidClientConfig, _) => Self::unusable(fault),
                (_, Some("NOPERM" | "NOAUTH" | "WRONGPASS")) => Self::unusable(fault),
                _ => Self::unavailable(fault),
            },
            RedisFault::TooOld { .. }
            | RedisFault::Evicts { .. }
            | RedisFault::Silent(_)
            | RedisFault::NoAppendFile
            | RedisFault::TooLong
            | RedisFault::Option(_) => Self::unusable(fault),
            RedisFault::Damaged | RedisFault::Newer { .. } => Self::corrupt(fault),
            RedisFault::Refused { code } => match &**code {
                "OOM" => Self::Full,
                "WRONGTYPE" => Self::corrupt(fault),
                "NOPERM" | "NOAUTH" | "WRONGPASS" => Self::unusable(fault),
                _ => Self::unavailable(fault),
            },
            _ => Self::unavailable(fault),
        }
    }
}
