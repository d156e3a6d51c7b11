//! The errors. None means "no": each says that an outcome is unknown, or that nothing was asked.

use thiserror::Error;

use crate::body::Body;
use crate::finish::Stale;
use crate::head::VERSION;

/// What any error of a store may bring along.
pub type Cause = Box<dyn std::error::Error + Send + Sync>;

/// A store failed. Whether it did what it was asked is unknown.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum StoreError {
    /// The store could not be reached, or the connection broke.
    #[error("the store is unavailable; whether the write happened is unknown")]
    Unavailable(#[source] Option<Cause>),
    /// The store did not answer in time.
    #[error("the store did not answer in time; whether the write happened is unknown")]
    Timeout,
    /// Somebody else's transaction holds the record and did not end in time; nothing was written.
    /// `begin` answers [`Decision::InProgress`](crate::Decision::InProgress).
    #[error("the record is held by a transaction that has not ended; nothing was written")]
    Busy,
    /// The store has no room for another key, and evicts none that is still kept.
    #[error("the store is full; raise its capacity or shorten the retention")]
    Full,
    /// What the store holds is damaged, or is not its own.
    #[error("the store is corrupt")]
    Corrupt(#[source] Option<Cause>),
    /// The store cannot be used as it is set up: a read-only file, a missing table, a schema of a
    /// newer version, a server that may evict records. Asking again does not help; the cause says
    /// what does.
    #[error("the store cannot be used as it is set up")]
    Unusable(#[source] Option<Cause>),
    /// The store was closed.
    #[error("the store is closed")]
    Closed,
}

impl StoreError {
    /// An [`StoreError::Unavailable`] with its cause.
    pub fn unavailable(cause: impl Into<Cause>) -> Self {
        Self::Unavailable(Some(cause.into()))
    }

    /// A [`StoreError::Unusable`] with its cause.
    pub fn unusable(cause: impl Into<Cause>) -> Self {
        Self::Unusable(Some(cause.into()))
    }

    /// A [`StoreError::Corrupt`] with its cause.
    pub fn corrupt(cause: impl Into<Cause>) -> Self {
        Self::Corrupt(Some(cause.into()))
    }

    /// Whether the same question may succeed later.
    #[must_use]
    pub fn is_retryable(&self) -> bool {
        matches!(
            self,
            Self::Unavailable(_) | Self::Timeout | Self::Busy | Self::Full
        )
    }
}

/// A slot cannot be read. It blocks: nothing is executed on its account.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum SlotError {
    /// The record is damaged, or was not written by this library.
    #[error("the stored record is corrupt; nothing was executed")]
    Corrupt,
    /// The record was written by a newer version.
    #[error("the stored record has version {version}, this build reads up to {VERSION}; update it")]
    Newer {
        /// The record's version.
        version: u8,
    },
    /// The slot was changed under each of many questions, or the store does not keep its laws.
    #[error("the slot kept changing; whether the write happened is unknown, ask again")]
    Contended,
}

/// Why there is no decision.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum Error {
    /// The store failed: whether a lease was granted is unknown. Do not execute.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// What lies in the slot cannot be read. Do not execute.
    #[error(transparent)]
    Slot(#[from] SlotError),
    /// The payload could not be turned into JSON for its fingerprint.
    #[error("the payload cannot be serialised for its fingerprint")]
    Payload(#[source] serde_json::Error),
}

impl Error {
    /// Whether the same call may succeed later.
    #[must_use]
    pub fn is_retryable(&self) -> bool {
        match self {
            Self::Store(error) => error.is_retryable(),
            Self::Slot(error) => *error == SlotError::Contended,
            Self::Payload(_) => false,
        }
    }
}

/// Why an owner's verb did not do what it says.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum LeaseError {
    /// The lease was taken over, or its record is gone. Nothing was changed; the winner's outcome
    /// is in it where there is one.
    #[error("the lease is not this owner's any more; nothing was changed")]
    Stale(Stale),
    /// The lease has reached its policy's ceiling and was not prolonged.
    #[error("the lease has reached its ceiling and was not prolonged")]
    Ceiling,
    /// The store failed: whether the verb was carried out is unknown. It may be repeated.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// What lies in the slot cannot be read.
    #[error(transparent)]
    Slot(#[from] SlotError),
    /// The value could not be turned into JSON; the store was not asked.
    #[error("the value cannot be serialised")]
    Value(#[source] serde_json::Error),
}

impl LeaseError {
    /// Whether the same verb may succeed later.
    #[must_use]
    pub fn is_retryable(&self) -> bool {
        match self {
            Self::Store(error) => error.is_retryable(),
            Self::Slot(error) => *error == SlotError::Contended,
            Self::Stale(_) | Self::Ceiling | Self::Value(_) => false,
        }
    }

    /// The outcome of the owner that took over, where this owner was late and the other is done.
    #[must_use]
    pub fn winner(&self) -> Option<&Body> {
        match self {
            Self::Stale(Stale {
                winner: Some(replay),
            }) => Some(&replay.outcome),
            _ => None,
        }
    }
}
