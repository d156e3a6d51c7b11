//! Any store of [`idemp`], opened by its URL: for a service whose store is a setting.
//!
//! ```
//! use idemp::{Decision, Fingerprint, Idempotency, Key, Scope};
//! use idemp_stores::FromUrl;
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! // From the configuration: sqlite:idempotency.db, postgres://..., redis://...
//! let idem = Idempotency::from_url("memory").await?;
//!
//! let (scope, key) = (Scope::new(["tenant-7"])?, Key::new("final-1769660861")?);
//! let request = Fingerprint::of_json(br#"{"prompt": "a cat"}"#);
//! if let Decision::Miss(mut lease) = idem.begin_async(&scope, &key, &request).await? {
//!     lease.finish("vt_4e80c173").await?;
//! }
//! # Ok(())
//! # }
//! ```
//!
//! | URL | store | feature |
//! |---|---|---|
//! | `memory` | [`MemoryStore`]: this process, until it ends | |
//! | `sqlite:PATH`, `sqlite://PATH` | one file, shared by the processes of a machine | `sqlite` |
//! | `postgres://…`, `postgresql://…` | the table `idempotency_keys`, which is made where it is missing | `postgres` |
//! | `redis://…`, `valkey://…` | a server, or the cluster that it is a node of | `redis` |
//! | `rediss://…`, `valkeys://…` | the same by TLS | `tls` |
//!
//! Every store is opened with the defaults of its crate, which are the safe ones. One that needs
//! options is opened by its own crate, and put in by [`From`].

mod open;

use std::fmt;
use std::future::Future;

use idemp::{AsyncStore, Idempotency, MemoryStore, StoreError, Swap, Swapped};

pub use open::OpenError;

/// One of the stores; which one is known when the service runs.
#[non_exhaustive]
pub enum AnyStore {
    /// `memory`
    Memory(Box<MemoryStore>),
    /// `sqlite:PATH`
    #[cfg(feature = "sqlite")]
    Sqlite(idemp_sqlite::SqliteStore),
    /// `postgres://…`
    #[cfg(feature = "postgres")]
    Postgres(idemp_postgres::PostgresStore),
    /// `redis://…`
    #[cfg(feature = "redis")]
    Redis(idemp_redis::RedisStore),
}

impl AnyStore {
    /// A store in the memory of this process.
    #[must_use]
    pub fn memory() -> Self {
        MemoryStore::new().into()
    }

    /// Opens the store of this URL, and makes what it needs: the file, the table.
    ///
    /// # Errors
    /// [`OpenError`]. None of them shows the URL, which may hold a password.
    pub async fn open(url: &str) -> Result<Self, OpenError> {
        open::open(url).await
    }
}

/// [`Idempotency`], opened by the URL of its store.
pub trait FromUrl: Sized {
    /// On the store of this URL, with the defaults of [`Idempotency::new`]. For a policy or an
    /// observer, hand [`AnyStore::open`] to [`Idempotency::builder`].
    ///
    /// # Errors
    /// Those of [`AnyStore::open`].
    fn from_url(url: &str) -> impl Future<Output = Result<Self, OpenError>> + Send;
}

impl FromUrl for Idempotency<AnyStore> {
    async fn from_url(url: &str) -> Result<Self, OpenError> {
        Ok(Self::new(AnyStore::open(url).await?))
    }
}

impl AsyncStore for AnyStore {
    async fn swap(&self, swap: &Swap) -> Result<Swapped, StoreError> {
        match self {
            Self::Memory(store) => AsyncStore::swap(&**store, swap).await,
            #[cfg(feature = "sqlite")]
            Self::Sqlite(store) => AsyncStore::swap(store, swap).await,
            #[cfg(feature = "postgres")]
            Self::Postgres(store) => store.swap(swap).await,
            #[cfg(feature = "redis")]
            Self::Redis(store) => store.swap(swap).await,
        }
    }
}

impl fmt::Debug for AnyStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Memory(_) => "AnyStore::Memory",
            #[cfg(feature = "sqlite")]
            Self::Sqlite(_) => "AnyStore::Sqlite",
            #[cfg(feature = "postgres")]
            Self::Postgres(_) => "AnyStore::Postgres",
            #[cfg(feature = "redis")]
            Self::Redis(_) => "AnyStore::Redis",
        })
    }
}

impl From<MemoryStore> for AnyStore {
    fn from(store: MemoryStore) -> Self {
        Self::Memory(Box::new(store))
    }
}

#[cfg(feature = "sqlite")]
impl From<idemp_sqlite::SqliteStore> for AnyStore {
    fn from(store: idemp_sqlite::SqliteStore) -> Self {
        Self::Sqlite(store)
    }
}

#[cfg(feature = "postgres")]
impl From<idemp_postgres::PostgresStore> for AnyStore {
    fn from(store: idemp_postgres::PostgresStore) -> Self {
        Self::Postgres(store)
    }
}

#[cfg(feature = "redis")]
impl From<idemp_redis::RedisStore> for AnyStore {
    fn from(store: idemp_redis::RedisStore) -> Self {
        Self::Redis(store)
    }
}
