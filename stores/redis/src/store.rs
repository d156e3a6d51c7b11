//! [`RedisStore`].

use std::fmt;
use std::sync::Arc;

use idemp::{AsyncStore, Expect, SlotKey, StoreError, Swap, Swapped, Verdict};

use crate::fault::RedisFault;
use crate::node::Servers;
use crate::options::{Options, RedisBuilder};
use crate::question::{Answer, Question};

/// Keeps slots in Redis or Valkey, one key each. Cheap to clone: clones share their connections.
///
/// It belongs to the tokio runtime on which it is used.
///
/// ```no_run
/// # async fn example() -> Result<(), Box<dyn std::error::Error>> {
/// use idemp::{Decision, Fingerprint, Idempotency, Key, Scope};
/// use idemp_redis::RedisStore;
///
/// let idem = Idempotency::new(RedisStore::connect("redis://127.0.0.1/").await?);
/// let (scope, key) = (Scope::new(["user-1"])?, Key::new("final-1769660861")?);
/// let payload = Fingerprint::of_json(br#"{"amount": 100}"#);
/// if let Decision::Miss(mut lease) = idem.begin_async(&scope, &key, &payload).await? {
///     lease.finish(&"paid").await?;
/// }
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct RedisStore {
    shared: Arc<Shared>,
}

struct Shared {
    servers: Servers,
    options: Arc<Options>,
}

impl RedisStore {
    /// Connects to a server, or to the cluster that it is a node of: `redis://[user:password@]host
    /// [:port][/database]`, `rediss://` with the feature `tls-rustls`.
    ///
    /// # Errors
    /// Those of [`RedisBuilder::connect`].
    pub async fn connect(url: impl Into<String>) -> Result<Self, StoreError> {
        Self::builder(url).connect().await
    }

    /// For more than an address.
    pub fn builder(url: impl Into<String>) -> RedisBuilder {
        RedisBuilder::new(url)
    }

    pub(crate) async fn connected(options: Options) -> Result<Self, StoreError> {
        let options = Arc::new(options);
        let servers = Servers::connected(options.clone()).await?;
        let shared = Arc::new(Shared { servers, options });
        Ok(Self { shared })
    }

    fn key(&self, slot: &SlotKey) -> Vec<u8> {
        [&self.shared.options.prefix, slot.as_bytes()].concat()
    }

    async fn ask(&self, question: &Question<'_>) -> Result<Swapped, StoreError> {
        let servers = &self.shared.servers;
        match servers.ask(question).await? {
            Answer::Swapped(swapped) => Ok(swapped),
            Answer::Unclear => match servers.ask(&question.by_script()).await? {
                Answer::Swapped(swapped) => Ok(swapped),
                Answer::Unclear => Err(RedisFault::Reply.into()),
            },
        }
    }

    /// A full server takes no new slot, and no transaction. What is there can still be told.
    async fn ask_when_full(&self, swap: &Swap, key: &[u8]) -> Result<Swapped, StoreError> {
        let read = Swap::read(swap.slot.clone());
        let question = Question::new(&read, key, &self.shared.options).by_script();
        let reply = self.ask(&question).await?;
        match (swap.expect, &reply.verdict) {
            (Expect::Vacant, Verdict::Lost(None)) => Err(StoreError::Full),
            _ => Ok(reply),
        }
    }
}

impl AsyncStore for RedisStore {
    async fn swap(&self, swap: &Swap) -> Result<Swapped, StoreError> {
        let key = self.key(&swap.slot);
        let question = Question::new(swap, &key, &self.shared.options);
        match self.ask(&question).await {
            Err(StoreError::Full) if question.claims() || question.reads() => {
                self.ask_when_full(swap, &key).await
            }
            reply => reply,
        }
    }
}

/// Says nothing of addresses, which may hold a password.
impl fmt::Debug for RedisStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("RedisStore")
    }
}
