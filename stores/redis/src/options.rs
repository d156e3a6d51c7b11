//! [`RedisBuilder`]: how a store is set up.

use std::time::Duration;

use idemp::StoreError;
use redis::io::tcp::TcpSettings;
use redis::{ConnectionInfo, IntoConnectionInfo};

use crate::fault::RedisFault;
use crate::store::RedisStore;

/// Sets up a [`RedisStore`]. Made by [`RedisStore::builder`].
///
/// ```no_run
/// # async fn example() -> Result<(), idemp::StoreError> {
/// use std::time::Duration;
/// use idemp_redis::RedisStore;
///
/// let store = RedisStore::builder("redis://10.0.0.1:6379")
///     .node("redis://10.0.0.2:6379")
///     .prefix("payments:")
///     .wait_for_replicas(1, Duration::from_millis(500))
///     .connect()
///     .await?;
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
#[must_use]
pub struct RedisBuilder {
    urls: Vec<String>,
    options: Options,
}

#[derive(Clone)]
pub(crate) struct Options {
    pub(crate) nodes: Vec<ConnectionInfo>,
    pub(crate) prefix: Vec<u8>,
    pub(crate) connections: Option<usize>,
    pub(crate) connect_within: Duration,
    pub(crate) answer_within: Duration,
    pub(crate) check_every: Duration,
    pub(crate) allow_eviction: bool,
    pub(crate) copies: Option<Copies>,
}

/// Which copies of a write are waited for, and how long.
#[derive(Clone, Copy)]
pub(crate) enum Copies {
    InMemory {
        replicas: u32,
        within: Duration,
    },
    OnDisk {
        local: bool,
        replicas: u32,
        within: Duration,
    },
}

impl Default for Options {
    fn default() -> Self {
        Self {
            nodes: Vec::new(),
            prefix: b"idemp:".to_vec(),
            connections: None,
            connect_within: Duration::from_secs(2),
            answer_within: Duration::from_secs(2),
            check_every: Duration::from_secs(60),
            allow_eviction: false,
            copies: None,
        }
    }
}

impl RedisBuilder {
    pub(crate) fn new(url: impl Into<String>) -> Self {
        Self {
            urls: vec![url.into()],
            options: Options::default(),
        }
    }

    /// A further server: another node of the same cluster, or the one that a fail-over may make
    /// the primary. The first that answers and is a primary is used; when it is one no more, they
    /// are all tried again. Never a server with other data.
    pub fn node(mut self, url: impl Into<String>) -> Self {
        self.urls.push(url.into());
        self
    }

    /// What every key begins with; `idemp:` by default. Stores with different prefixes share
    /// nothing, as long as none is the beginning of another.
    pub fn prefix(mut self, prefix: impl Into<Vec<u8>>) -> Self {
        self.options.prefix = prefix.into();
        self
    }

    /// How many connections a server is asked over, in turn. One carries many questions at a time,
    /// so 1 is the default; with a wait for copies, which holds up all that is asked behind it on
    /// the same connection, 16.
    pub fn connections(mut self, connections: usize) -> Self {
        self.options.connections = Some(connections);
        self
    }

    /// How long a connection may take to be made and checked; 2 s by default.
    pub fn connect_within(mut self, span: Duration) -> Self {
        self.options.connect_within = span;
        self
    }

    /// How long an answer may take, the wait for copies not counted; 2 s by default. Then it is
    /// [`StoreError::Timeout`], and the connection is given up.
    pub fn answer_within(mut self, span: Duration) -> Self {
        self.options.answer_within = span;
        self
    }

    /// How often the server is asked whether it may evict records; every 60 s by default, before a
    /// `begin`, besides at every new connection.
    pub fn check_every(mut self, span: Duration) -> Self {
        self.options.check_every = span;
        self
    }

    /// Uses a server that evicts records when its memory is full. **An evicted record executes
    /// again**: under `volatile-ttl` 98 of 100 live leases were evicted under memory pressure.
    pub fn allow_eviction(mut self, allow: bool) -> Self {
        self.options.allow_eviction = allow;
        self
    }

    /// Acknowledges nothing that fewer than so many replicas confirmed (`WAIT`): class `Node`. Too
    /// few within `span` is [`StoreError::Unavailable`] with [`RedisFault::Unreplicated`]: the
    /// write happened here, and whether it outlives this server is not known.
    ///
    /// Replays are confirmed, too: an answer that was given must not be lost with a server.
    pub fn wait_for_replicas(mut self, replicas: u32, span: Duration) -> Self {
        self.options.copies = Some(Copies::InMemory {
            replicas,
            within: span,
        });
        self
    }

    /// As [`RedisBuilder::wait_for_replicas`], and the write has to be synced to the append-only
    /// file of so many replicas and, where `local`, of the primary (`WAITAOF`): class `Power`.
    /// Redis 7.2 or newer, with `appendonly yes`.
    pub fn wait_for_disks(mut self, local: bool, replicas: u32, span: Duration) -> Self {
        self.options.copies = Some(Copies::OnDisk {
            local,
            replicas,
            within: span,
        });
        self
    }

    /// Connects, and checks that the server can be trusted with records.
    ///
    /// # Errors
    /// [`StoreError::Unusable`] where an option or an address is wrong, the server is too old, may
    /// evict records or refuses the user; [`StoreError::Unavailable`] and [`StoreError::Timeout`]
    /// where no primary answers. The source is a [`RedisFault`].
    pub async fn connect(mut self) -> Result<RedisStore, StoreError> {
        for url in &self.urls {
            let info = url.as_str().into_connection_info();
            let settings = TcpSettings::default().set_nodelay(true);
            let info = info.map_err(RedisFault::from)?.set_tcp_settings(settings);
            self.options.nodes.push(info);
        }
        self.options.check()?;
        RedisStore::connected(self.options).await
    }
}

impl Options {
    fn check(&self) -> Result<(), RedisFault> {
        let wrong = |what| Err(RedisFault::Option(what));
        if self.connections == Some(0) {
            return wrong("a store needs at least one connection");
        }
        match self.copies {
            Some(copies) if copies.wanted() == (0, 0) => wrong("a wait needs a copy to wait for"),
            Some(copies) if copies.within() < Duration::from_millis(1) => {
                wrong("a wait for copies is at least a millisecond long")
            }
            _ if self.connect_within.is_zero() || self.answer_within.is_zero() => {
                wrong("a server needs some time to answer")
            }
            _ => Ok(()),
        }
    }

    pub(crate) fn connections(&self) -> usize {
        self.connections
            .unwrap_or(if self.copies.is_some() { 16 } else { 1 })
    }

    /// How long the reply to one question may take in all.
    pub(crate) fn reply_within(&self) -> Duration {
        let waits = self.copies.map_or(Duration::ZERO, Copies::within);
        self.answer_within.saturating_add(waits)
    }
}

impl Copies {
    pub(crate) fn within(self) -> Duration {
        match self {
            Self::InMemory { within, .. } | Self::OnDisk { within, .. } => within,
        }
    }

    /// How many have to confirm: on this server's disk, on replicas.
    pub(crate) fn wanted(self) -> (u64, u64) {
        match self {
            Self::InMemory { replicas, .. } => (0, replicas.into()),
            Self::OnDisk {
                local, replicas, ..
            } => (local.into(), replicas.into()),
        }
    }
}
