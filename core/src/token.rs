//! [`LeaseToken`]: a lease as plain data, to hand to another process.

use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::body::Body;
use crate::fingerprint::Fingerprint;
use crate::head::Record;
use crate::key::SlotKey;
use crate::policy::Policy;
use crate::slot::{Owner, Rev, Slot};
use crate::time::Timestamp;

/// The exclusive right to execute, as plain data.
///
/// Whoever holds it can renew, publish, finish or release: a worker that ends the job in another
/// process gets it with the job, as [`LeaseToken::to_text`]. It holds the raw key, and it is a
/// capability: treat it like a secret. `Debug` shows neither.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LeaseToken {
    pub(crate) slot: SlotKey,
    pub(crate) fingerprint: Fingerprint,
    pub(crate) policy: Policy,
    pub(crate) owner: Owner,
    pub(crate) rev: Rev,
    pub(crate) attempt: u32,
    #[serde(with = "as_text")]
    pub(crate) fence: u64,
    pub(crate) granted_at: Timestamp,
    pub(crate) lease_until: Timestamp,
    /// The store's time when the lease was last heard of.
    pub(crate) seen_at: Timestamp,
    /// Stays here: a token that travelled asks the store before it puts the state again.
    #[serde(skip)]
    pub(crate) published: Published,
}

/// What the holder knows of the interim state.
#[derive(Clone, PartialEq, Eq, Default)]
pub(crate) enum Published {
    #[default]
    Unread,
    Known(Option<Body>),
}

impl LeaseToken {
    /// The longest text that [`LeaseToken::from_text`] reads, in bytes.
    pub const MAX_TEXT_BYTES: usize = 8 * 1024;

    /// Counts the attempts at this key from 1; more than 1 means that an earlier attempt lapsed or
    /// was released, and may have done a part: see [`LeaseToken::published`].
    #[must_use]
    pub fn attempt(&self) -> u32 {
        self.attempt
    }

    /// The fencing token to hand to systems downstream, which refuse a number below the highest
    /// that they have seen.
    ///
    /// It grows with every lease of a key while the store's clock does not step back. One gap is
    /// left: where an owner itself ended its work, so that the slot was vacant, and the key was
    /// taken again in the same millisecond, the number may repeat, or fall by the attempts of that
    /// millisecond.
    #[must_use]
    pub fn fence(&self) -> u64 {
        self.fence
    }

    /// When the lease lapses, on the store's clock. To decide whether there is time left, use
    /// [`Lease::remaining`](crate::Lease::remaining), which needs no common clock.
    #[must_use]
    pub fn lease_until(&self) -> Timestamp {
        self.lease_until
    }

    /// What an earlier attempt, or this one, published; `None` also where this token travelled
    /// and has not asked the store since.
    #[must_use]
    pub fn published(&self) -> Option<&Body> {
        match &self.published {
            Published::Known(published) => published.as_ref(),
            Published::Unread => None,
        }
    }

    /// The policy that the lease was granted under.
    #[must_use]
    pub fn policy(&self) -> &Policy {
        &self.policy
    }

    /// The slot that the lease is for.
    #[must_use]
    pub fn slot(&self) -> &SlotKey {
        &self.slot
    }

    /// The token as text of a few hundred characters, without what was published.
    #[must_use]
    pub fn to_text(&self) -> String {
        // Strings and numbers only: there is nothing that could fail.
        serde_json::to_string(self).unwrap_or_default()
    }

    /// Reads what [`LeaseToken::to_text`] gave.
    ///
    /// # Errors
    /// [`TokenError`] where it is not that, or longer than [`LeaseToken::MAX_TEXT_BYTES`].
    pub fn from_text(text: &str) -> Result<Self, TokenError> {
        if text.len() > Self::MAX_TEXT_BYTES {
            return Err(TokenError);
        }
        serde_json::from_str(text).map_err(|_| TokenError)
    }

    /// What was left of the lease when the store was last heard of.
    pub(crate) fn remaining_when_seen(&self) -> Duration {
        self.lease_until.since(self.seen_at)
    }

    /// The lease that lies in `slot`, which its own owner found.
    pub(crate) fn found(
        slot: Slot,
        record: &Record,
        key: SlotKey,
        policy: Policy,
        now: Timestamp,
    ) -> Self {
        Self {
            slot: key,
            fingerprint: record.fingerprint,
            policy,
            owner: record.owner,
            rev: slot.rev,
            attempt: record.attempt,
            fence: record.fence(&slot),
            granted_at: record.granted_at(&slot),
            lease_until: slot.lease_until,
            seen_at: now,
            published: Published::Known(record.published.then_some(slot.body)),
        }
    }
}

impl fmt::Debug for LeaseToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LeaseToken")
            .field("slot", &self.slot)
            .field("attempt", &self.attempt)
            .field("fence", &self.fence)
            .field("lease_until", &self.lease_until)
            .finish_non_exhaustive()
    }
}

/// A fence on the wire: its 64 bits are more than a number of JavaScript holds.
pub(crate) mod as_text {
    use serde::{Deserialize, Deserializer, Serializer, de};

    pub(crate) fn serialize<S: Serializer>(fence: &u64, to: S) -> Result<S::Ok, S::Error> {
        to.collect_str(fence)
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<u64, D::Error> {
        let text = std::borrow::Cow::<'_, str>::deserialize(from)?;
        text.parse()
            .map_err(|_| de::Error::custom("expected a number as text"))
    }
}

/// Text that is not a lease token. It is not shown, since it may hold one in part.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("this text is not a lease token")]
pub struct TokenError;
