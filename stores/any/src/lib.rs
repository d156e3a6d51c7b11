//! Any store of [`idemp`], opened by its URL.
//!
//! ```
//! use idemp::Idempotency;
//! use idemp_stores::FromUrl;
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), idemp_stores::OpenError> {
//! // From the configuration: sqlite:idempotency.db, postgres://..., redis://...
//! let idem = Idempotency::from_url("memory").await?;
//! # drop(idem);
//! # Ok(())
//! # }
//! ```

use std::fmt;
use std::future::Future;

use idemp::{AsyncStore, Idempotency, MemoryStore, StoreError, Swap, Swapped};
use thiserror::Error;

/// One of the stores, known at run time.
#[non_exhaustive]
pub enum AnyStore {
    /// `memory`
    Memory(MemoryStore),
}

impl AnyStore {
    /// A store in the memory of this process.
    #[must_use]
    pub fn memory() -> Self {
        Self::Memory(MemoryStore::new())
    }

    /// Opens the store.
    ///
    /// # Errors
    /// [`OpenError`]
    pub async fn open(url: &str) -> Result<Self, OpenError> {
        match url {
            "memory" => Ok(Self::memory()),
            _ => Err(OpenError::Unknown),
        }
    }
}

impl AsyncStore for AnyStore {
    async fn swap(&self, swap: &Swap) -> Result<Swapped, StoreError> {
        match self {
            Self::Memory(store) => AsyncStore::swap(store, swap).await,
        }
    }
}

impl fmt::Debug for AnyStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("AnyStore")
    }
}

/// x
pub trait FromUrl: Sized {
    /// x
    fn from_url(url: &str) -> impl Future<Output = Result<Self, OpenError>> + Send;
}

impl FromUrl for Idempotency<AnyStore> {
    async fn from_url(url: &str) -> Result<Self, OpenError> {
        Ok(Self::new(AnyStore::open(url).await?))
    }
}

/// Why a store was not opened.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum OpenError {
    /// x
    #[error("x")]
    Unknown,
}
