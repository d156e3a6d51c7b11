//! From a URL to its store.

use idemp::StoreError;
use thiserror::Error;

use crate::AnyStore;

/// Why a store was not opened. Nothing here shows the URL.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum OpenError {
    /// It is the URL of no store.
    #[error(
        "this is the URL of no store; there are memory, sqlite:PATH, postgres://..., redis://..."
    )]
    Url,
    /// The store is not part of this build.
    #[error("this build has no such store; build idemp-stores with its feature `{feature}`")]
    NotBuilt {
        /// The feature that brings it.
        feature: &'static str,
    },
    /// The store could not be opened.
    #[error(transparent)]
    Store(#[from] StoreError),
}

pub(crate) async fn open(url: &str) -> Result<AnyStore, OpenError> {
    let (scheme, rest) = url.split_once(':').unwrap_or((url, ""));
    match scheme {
        "memory" if rest.is_empty() => Ok(AnyStore::memory()),
        "sqlite" if !rest.trim_start_matches('/').is_empty() => {
            sqlite(rest.strip_prefix("//").unwrap_or(rest))
        }
        "postgres" | "postgresql" => postgres(url).await,
        "redis" | "valkey" => redis(url).await,
        "rediss" | "valkeys" if cfg!(feature = "tls") => redis(url).await,
        "rediss" | "valkeys" => Err(OpenError::NotBuilt { feature: "tls" }),
        _ => Err(OpenError::Url),
    }
}

#[cfg(feature = "sqlite")]
fn sqlite(path: &str) -> Result<AnyStore, OpenError> {
    Ok(idemp_sqlite::SqliteStore::open(path)?.into())
}

#[cfg(feature = "postgres")]
async fn postgres(url: &str) -> Result<AnyStore, OpenError> {
    let store = idemp_postgres::PostgresStore::open(url)?;
    store.migrate().await?;
    Ok(store.into())
}

#[cfg(feature = "redis")]
async fn redis(url: &str) -> Result<AnyStore, OpenError> {
    Ok(idemp_redis::RedisStore::connect(url).await?.into())
}

#[cfg(not(feature = "sqlite"))]
fn sqlite(_: &str) -> Result<AnyStore, OpenError> {
    Err(OpenError::NotBuilt { feature: "sqlite" })
}

#[cfg(not(feature = "postgres"))]
async fn postgres(_: &str) -> Result<AnyStore, OpenError> {
    Err(OpenError::NotBuilt {
        feature: "postgres",
    })
}

#[cfg(not(feature = "redis"))]
async fn redis(_: &str) -> Result<AnyStore, OpenError> {
    Err(OpenError::NotBuilt { feature: "redis" })
}
