//! [`Decision`]: what `begin` answers. A decision is a value, never an error.

use std::time::Duration;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::body::Body;
use crate::error::{Error, StoreError};
use crate::token::LeaseToken;

/// What becomes of a request. An error instead of a decision means that the store failed and that
/// the outcome is not known: it never means "go on".
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[must_use = "only a `Miss` may execute"]
pub enum Decision<L = LeaseToken> {
    /// Execute: the key is yours until the lease lapses.
    Miss(L),
    /// It was done: this is the stored outcome, byte for byte.
    Hit(Replay),
    /// The key was used with another payload. Nothing of what is stored is told.
    Conflict,
    /// Somebody else is executing it.
    InProgress(InProgress),
    /// It may have been executed and the outcome is not stored. Nothing executes until it is
    /// resolved.
    Unknown,
    /// It was done, and its outcome is no longer kept.
    Expired,
}

/// A stored outcome.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Replay {
    pub(crate) outcome: Body,
    #[serde(with = "crate::time::as_millis", rename = "remaining_ms")]
    pub(crate) remaining: Duration,
}

/// Somebody else's execution.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct InProgress {
    pub(crate) published: Option<Body>,
    #[serde(with = "crate::time::as_millis", rename = "remaining_ms")]
    pub(crate) remaining: Duration,
}

impl Decision {
    /// Where a transaction that has not ended holds the record, somebody else is executing it.
    pub(crate) fn or_busy(decided: Result<Self, Error>) -> Result<Self, Error> {
        match decided {
            Err(Error::Store(StoreError::Busy)) => Ok(Self::InProgress(InProgress::unheard_of())),
            decided => decided,
        }
    }
}

impl<L> Decision<L> {
    /// How long to wait before asking again: at least a second, in whole seconds, as
    /// `Retry-After` wants it (RFC 9110, section 10.2.3). `None` where waiting does not help.
    #[must_use]
    pub fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::InProgress(other) => {
                let seconds = other.remaining.as_millis().div_ceil(1000).max(1);
                Some(Duration::from_secs(
                    u64::try_from(seconds).unwrap_or(u64::MAX),
                ))
            }
            _ => None,
        }
    }

    /// Whether to execute.
    #[must_use]
    pub fn is_miss(&self) -> bool {
        matches!(self, Self::Miss(_))
    }

    /// Whether a stored outcome answers.
    #[must_use]
    pub fn is_hit(&self) -> bool {
        matches!(self, Self::Hit(_))
    }

    /// The same decision with another kind of lease.
    pub fn map<M>(self, lease: impl FnOnce(L) -> M) -> Decision<M> {
        match self {
            Self::Miss(held) => Decision::Miss(lease(held)),
            Self::Hit(replay) => Decision::Hit(replay),
            Self::Conflict => Decision::Conflict,
            Self::InProgress(other) => Decision::InProgress(other),
            Self::Unknown => Decision::Unknown,
            Self::Expired => Decision::Expired,
        }
    }
}

impl Replay {
    /// The outcome, byte for byte.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        &self.outcome
    }

    /// The outcome, shared instead of copied.
    #[must_use]
    pub fn into_body(self) -> Body {
        self.outcome
    }

    /// The outcome, read as JSON.
    ///
    /// # Errors
    /// Where the outcome is not JSON of this type.
    pub fn json<T: DeserializeOwned>(&self) -> Result<T, serde_json::Error> {
        serde_json::from_slice(&self.outcome)
    }

    /// How long it will still be replayed.
    #[must_use]
    pub fn remaining(&self) -> Duration {
        self.remaining
    }
}

impl InProgress {
    /// Somebody else's execution of which nothing is known.
    pub(crate) fn unheard_of() -> Self {
        Self {
            published: None,
            remaining: Duration::ZERO,
        }
    }

    /// What the owner published so far.
    #[must_use]
    pub fn published(&self) -> Option<&Body> {
        self.published.as_ref()
    }

    /// What the owner published so far, read as JSON; `None` where nothing was published.
    ///
    /// # Errors
    /// Where it is not JSON of this type.
    pub fn json<T: DeserializeOwned>(&self) -> Result<Option<T>, serde_json::Error> {
        self.published
            .as_deref()
            .map(serde_json::from_slice)
            .transpose()
    }

    /// What is left of the owner's lease. It may be renewed, or end earlier.
    #[must_use]
    pub fn remaining(&self) -> Duration {
        self.remaining
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn retry_after_is_rounded_up_and_at_least_a_second() {
        for (millis, seconds) in [(0, 1), (1, 1), (1000, 1), (1001, 2), (59_000, 59)] {
            let remaining = Duration::from_millis(millis);
            let decision = Decision::<()>::InProgress(InProgress {
                published: None,
                remaining,
            });
            assert_eq!(decision.retry_after(), Some(Duration::from_secs(seconds)));
        }
        assert_eq!(Decision::<()>::Conflict.retry_after(), None);
    }
}
