//! [`Policy`]: how long a lease lives and a record is kept, and what a lapse means.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::time::Millis;

/// How a key is used. Built by [`Policy::replay`] or [`Policy::while_active`], and validated when
/// it is built: nothing is clamped.
///
/// ```
/// use std::time::Duration;
/// use idemp::{Lapse, Policy};
///
/// let default = Policy::default();                                  // replay for 24 hours
/// let payments = Policy::replay(Duration::from_secs(7 * 86_400))
///     .lease(Duration::from_secs(30))
///     .on_lapse(Lapse::Fence)                                       // never run twice by itself
///     .build()?;
/// let analysis = Policy::while_active(Duration::from_secs(6 * 3600)).build()?;
/// assert!(Policy::replay(Duration::ZERO).build().is_err());
/// # Ok::<(), idemp::PolicyError>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "Unchecked")]
pub struct Policy {
    pub(crate) usage: Usage,
    #[serde(rename = "retention_ms")]
    pub(crate) retention: Millis,
    #[serde(rename = "lease_ms")]
    pub(crate) lease: Millis,
    #[serde(rename = "ceiling_ms")]
    pub(crate) ceiling: Millis,
    #[serde(rename = "tombstone_ms")]
    pub(crate) tombstone: Millis,
    pub(crate) lapse: Lapse,
}

/// A policy as it comes from outside: it is validated like any other.
#[derive(Deserialize)]
pub(crate) struct Unchecked {
    pub(crate) usage: Usage,
    pub(crate) retention_ms: Millis,
    pub(crate) lease_ms: Millis,
    pub(crate) ceiling_ms: Millis,
    pub(crate) tombstone_ms: Millis,
    pub(crate) lapse: Lapse,
}

impl TryFrom<Unchecked> for Policy {
    type Error = PolicyError;

    /// A lease carries the fence of the record it was taken over from, whatever its policy: so it
    /// may fence where there is nothing left to.
    fn try_from(policy: Unchecked) -> Result<Self, PolicyError> {
        Self {
            usage: policy.usage,
            retention: policy.retention_ms,
            lease: policy.lease_ms,
            ceiling: policy.ceiling_ms,
            tombstone: policy.tombstone_ms,
            lapse: policy.lapse,
        }
        .checked()
    }
}

/// The two uses of the one machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Usage {
    /// The outcome is kept and replayed.
    Replay,
    /// The key is held while the work is active; when it ends the slot is vacant at once.
    WhileActive,
}

/// What it means that a lease lapsed with no word of its owner.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Lapse {
    /// The next request with the same payload takes over: attempt n + 1. The lapsed owner may
    /// still be at work, so the effect has to bear that, or check the
    /// [`fence`](crate::LeaseToken::fence).
    #[default]
    Takeover,
    /// The outcome is unknown, and nothing is executed until it is resolved. Once a record says
    /// so, it holds for every later caller.
    Fence,
}

impl Policy {
    /// 24 hours, in milliseconds' precision like every duration here.
    pub const DEFAULT_RETENTION: Duration = Duration::from_secs(24 * 3600);
    /// The lease where none is set: 60 s, or the retention where that is shorter.
    pub const DEFAULT_LEASE: Duration = Duration::from_secs(60);
    /// The longest that an owner may prolong its lease to where no ceiling is set: an hour, or
    /// the lease where that is longer.
    pub const DEFAULT_CEILING: Duration = Duration::from_secs(3600);
    /// The longest duration accepted: 100 years of 365 days.
    pub const MAX: Duration = Duration::from_secs(100 * 365 * 86_400);
    const MAX_MILLIS: Millis = Millis::of_secs(Self::MAX.as_secs());
    /// The environment variable that [`Policy::replay_from_env`] reads.
    pub const TTL_VARIABLE: &'static str = "IDEMPOTENCY_TTL_HOURS";

    /// The `Idempotency-Key` pattern: the outcome is replayed for `retention`, counted from
    /// `finish`.
    pub fn replay(retention: Duration) -> PolicyBuilder {
        PolicyBuilder::new(Usage::Replay, retention)
    }

    /// Natural-key deduplication: duplicates get what the owner published while the work is
    /// active, at most `max`; when it completes, fails or is cancelled, the next request starts
    /// new work.
    ///
    /// The lease lives for all of `max` unless [`PolicyBuilder::lease`] sets a shorter one, to be
    /// renewed by a worker.
    pub fn while_active(max: Duration) -> PolicyBuilder {
        PolicyBuilder::new(Usage::WhileActive, max)
    }

    /// [`Policy::replay`] with the retention that the environment variable
    /// `IDEMPOTENCY_TTL_HOURS` sets, in whole hours; 24 where it is not set.
    ///
    /// # Errors
    /// [`PolicyError::Hours`] where the variable is set and is not a whole number of hours of at
    /// least 1.
    pub fn replay_from_env() -> Result<PolicyBuilder, PolicyError> {
        match std::env::var(Self::TTL_VARIABLE) {
            Err(std::env::VarError::NotPresent) => Ok(Self::replay(Self::DEFAULT_RETENTION)),
            Err(std::env::VarError::NotUnicode(_)) => Err(PolicyError::Hours),
            Ok(hours) => Self::replay_hours(&hours),
        }
    }

    /// [`Policy::replay`] with a retention in whole hours, as text: what
    /// [`Policy::replay_from_env`] does with its variable.
    ///
    /// # Errors
    /// [`PolicyError::Hours`] where the text is not a whole number of at least 1.
    pub fn replay_hours(hours: &str) -> Result<PolicyBuilder, PolicyError> {
        let longest = Self::MAX.as_secs() / 3600;
        Some(hours)
            .filter(|hours| hours.bytes().all(|b| b.is_ascii_digit())) // `parse` takes a plus
            .and_then(|hours| hours.parse::<u64>().ok())
            .filter(|hours| (1..=longest).contains(hours))
            .map(|hours| Self::replay(Duration::from_secs(hours * 3600)))
            .ok_or(PolicyError::Hours)
    }

    /// Which use it is.
    #[must_use]
    pub const fn usage(&self) -> Usage {
        self.usage
    }

    /// How long an outcome is replayed, or the work may be active.
    #[must_use]
    pub const fn retention(&self) -> Duration {
        self.retention.span()
    }

    /// How long a lease lives without renewal.
    #[must_use]
    pub const fn lease(&self) -> Duration {
        self.lease.span()
    }

    /// How long a lease may live with all its renewals.
    #[must_use]
    pub const fn ceiling(&self) -> Duration {
        self.ceiling.span()
    }

    /// How long after the retention a key is still known as expired; zero for not at all.
    #[must_use]
    pub const fn tombstone(&self) -> Duration {
        self.tombstone.span()
    }

    /// What a lapse means.
    #[must_use]
    pub const fn lapse(&self) -> Lapse {
        self.lapse
    }

    fn checked(self) -> Result<Self, PolicyError> {
        let spans = [
            ("retention", self.retention, 1),
            ("lease", self.lease, 1),
            ("ceiling", self.ceiling, 1),
            ("tombstone", self.tombstone, 0),
        ];
        for (name, span, least) in spans {
            if span.count() < least {
                return Err(PolicyError::TooShort { name });
            }
            if span > Self::MAX_MILLIS {
                return Err(PolicyError::TooLong { name });
            }
        }
        if self.lease > self.retention {
            return Err(PolicyError::LeaseBeyondRetention);
        }
        if self.ceiling < self.lease {
            return Err(PolicyError::CeilingBelowLease);
        }
        if self.usage == Usage::WhileActive && !self.tombstone.is_zero() {
            return Err(PolicyError::TombstoneWhileActive);
        }
        Ok(self)
    }

    /// The same, but for what a lapse means.
    pub(crate) fn with_lapse(self, lapse: Lapse) -> Self {
        Self { lapse, ..self }
    }

    /// How long a store keeps what core puts: never shorter than a lease.
    pub(crate) fn keep(&self) -> Duration {
        // Neither is longer than 100 years.
        Millis::from(self.retention.count() + self.tombstone.count()).span()
    }
}

impl Default for Policy {
    /// Replay for [`Policy::DEFAULT_RETENTION`].
    fn default() -> Self {
        Self {
            usage: Usage::Replay,
            retention: Self::DEFAULT_RETENTION.into(),
            lease: Self::DEFAULT_LEASE.into(),
            ceiling: Self::DEFAULT_CEILING.into(),
            tombstone: Millis::default(),
            lapse: Lapse::Takeover,
        }
    }
}

/// Sets what differs from the defaults; [`PolicyBuilder::build`] validates.
#[derive(Debug, Clone, Copy)]
#[must_use = "a policy is validated and made by `build`"]
pub struct PolicyBuilder {
    usage: Usage,
    retention: Millis,
    lease: Option<Millis>,
    ceiling: Option<Millis>,
    tombstone: Option<Millis>,
    lapse: Lapse,
}

impl PolicyBuilder {
    fn new(usage: Usage, retention: Duration) -> Self {
        Self {
            usage,
            retention: retention.into(),
            lease: None,
            ceiling: None,
            tombstone: None,
            lapse: Lapse::Takeover,
        }
    }

    /// How long a lease lives without renewal: within this time a crashed owner's key becomes
    /// decidable. At most the retention.
    pub fn lease(mut self, lease: Duration) -> Self {
        self.lease = Some(lease.into());
        self
    }

    /// How long a lease may live with all its renewals, from its grant. At least the lease.
    pub fn ceiling(mut self, ceiling: Duration) -> Self {
        self.ceiling = Some(ceiling.into());
        self
    }

    /// Remember for this long after the retention that the key was used, and answer `Expired`
    /// instead of executing anew.
    pub fn tombstone(mut self, tombstone: Duration) -> Self {
        self.tombstone = Some(tombstone.into());
        self
    }

    /// What it means that a lease lapsed.
    pub fn on_lapse(mut self, lapse: Lapse) -> Self {
        self.lapse = lapse;
        self
    }

    /// Validates and makes the policy.
    ///
    /// # Errors
    /// [`PolicyError`] names the duration that is below a millisecond, above [`Policy::MAX`], or
    /// at odds with another.
    pub fn build(self) -> Result<Policy, PolicyError> {
        let longest_default = match self.usage {
            Usage::Replay => Millis::of_secs(Policy::DEFAULT_LEASE.as_secs()),
            Usage::WhileActive => self.retention,
        };
        let lease = self.lease.unwrap_or(longest_default.min(self.retention));
        let ceiling = self.ceiling.unwrap_or(match self.usage {
            Usage::Replay => Millis::of_secs(Policy::DEFAULT_CEILING.as_secs()).max(lease),
            Usage::WhileActive => self.retention,
        });
        if self.tombstone.is_some_and(Millis::is_zero) {
            return Err(PolicyError::TooShort { name: "tombstone" });
        }
        let policy = Policy {
            usage: self.usage,
            retention: self.retention,
            lease,
            ceiling,
            tombstone: self.tombstone.unwrap_or_default(),
            lapse: self.lapse,
        }
        .checked()?;
        if policy.lapse == Lapse::Fence && policy.lease == policy.retention {
            return Err(PolicyError::NothingLeftToFence);
        }
        Ok(policy)
    }
}

/// Why a policy was refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum PolicyError {
    /// A duration is below a millisecond.
    #[error("the {name} has to be at least 1 ms")]
    TooShort {
        /// Which duration.
        name: &'static str,
    },
    /// A duration is above [`Policy::MAX`].
    #[error("the {name} has to be at most 100 years")]
    TooLong {
        /// Which duration.
        name: &'static str,
    },
    /// The lease is longer than the retention.
    #[error("the lease is longer than the retention; shorten it with `lease`")]
    LeaseBeyondRetention,
    /// A lapse is to fence, but the record would be gone when its lease lapses.
    #[error("a lapse can only fence where the lease is shorter than the retention")]
    NothingLeftToFence,
    /// The ceiling is shorter than the lease.
    #[error("the ceiling is shorter than the lease")]
    CeilingBelowLease,
    /// A tombstone makes no sense where nothing is replayed.
    #[error("a key that is held while active leaves no tombstone")]
    TombstoneWhileActive,
    /// Text that is not a number of hours.
    #[error(
        "{} has to be a whole number of hours, at least 1",
        Policy::TTL_VARIABLE
    )]
    Hours,
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn hours_are_whole_positive_and_plain() {
        let day = Policy::replay_hours("24").unwrap().build().unwrap();
        assert_eq!(day, Policy::default());
        for text in [
            "",
            "0",
            "-1",
            "+1",
            "1.5",
            "NaN",
            "inf",
            "24h",
            " 24",
            "99999999999",
            "876001",
        ] {
            assert_eq!(
                Policy::replay_hours(text).unwrap_err(),
                PolicyError::Hours,
                "{text}"
            );
        }
    }

    #[test]
    fn no_duration_is_clamped() {
        let replay = Policy::replay;
        let short = Duration::from_micros(999);
        let too_short = |name| Err(PolicyError::TooShort { name });
        let too_long = |name| Err(PolicyError::TooLong { name });
        assert_eq!(replay(Duration::ZERO).build(), too_short("retention"));
        assert_eq!(replay(SECOND).lease(short).build(), too_short("lease"));
        assert_eq!(
            replay(SECOND).tombstone(Duration::ZERO).build(),
            too_short("tombstone")
        );
        assert_eq!(replay(Duration::MAX).build(), too_long("retention"));
        assert_eq!(
            replay(SECOND).ceiling(Duration::MAX).build(),
            too_long("ceiling")
        );
        assert_eq!(
            replay(SECOND).lease(2 * SECOND).build(),
            Err(PolicyError::LeaseBeyondRetention)
        );
        assert_eq!(
            replay(9 * SECOND).lease(2 * SECOND).ceiling(SECOND).build(),
            Err(PolicyError::CeilingBelowLease)
        );
        assert_eq!(
            Policy::while_active(SECOND).tombstone(SECOND).build(),
            Err(PolicyError::TombstoneWhileActive)
        );
    }

    #[test]
    fn a_policy_from_outside_is_validated_too() {
        let policy = Policy::replay(9 * SECOND)
            .tombstone(SECOND)
            .build()
            .unwrap();
        let json = serde_json::to_string(&policy).unwrap();
        assert_eq!(serde_json::from_str::<Policy>(&json).unwrap(), policy);
        let active = Policy::while_active(SECOND).build().unwrap();
        let taken_over = active.with_lapse(Lapse::Fence);
        let token = serde_json::to_string(&taken_over).unwrap();
        assert_eq!(
            serde_json::from_str::<Policy>(&token).unwrap(),
            taken_over,
            "a record that fenced was taken over while active"
        );
        for (good, bad) in [
            ("\"lease_ms\":9000", "\"lease_ms\":0"),
            ("\"lease_ms\":9000", "\"lease_ms\":9001"),
            ("\"retention_ms\":9000", "\"retention_ms\":99999999999999"),
        ] {
            assert!(json.contains(good));
            assert!(
                serde_json::from_str::<Policy>(&json.replace(good, bad)).is_err(),
                "{bad}"
            );
        }
    }

    #[test]
    fn the_defaults_fit_any_retention() {
        for seconds in [1, 30, 60, 7200, 30 * 86_400] {
            let retention = Duration::from_secs(seconds);
            let replay = Policy::replay(retention).build().unwrap();
            assert!(replay.lease() <= Policy::DEFAULT_LEASE);
            let active = Policy::while_active(retention).build().unwrap();
            assert_eq!((active.lease(), active.ceiling()), (retention, retention));
        }
    }
}
