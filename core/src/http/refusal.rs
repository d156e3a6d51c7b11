//! Why a request is not executed: [`Refusal`], and how it is told in each [`Profile`].

use std::time::Duration;

/// How errors are told.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Profile {
    /// `{"code", "message", "requestId", "details"}`, and 409 for another payload.
    #[default]
    Default,
    /// Problem details (RFC 9457), and the statuses of
    /// draft-ietf-httpapi-idempotency-key-header-07.
    ///
    /// The `type` of each problem that the draft describes is the link to its section there; the
    /// draft asks for a link to documentation. The others are `about:blank`, with the phrase of the
    /// status as title. `code` and `requestId` are added to both; `code` is that of the default
    /// profile.
    Ietf,
}

/// Why a request is not executed; [`Refusal::answer`] tells the client.
///
/// | | default | ietf | code |
/// |---|---|---|---|
/// | `Conflict` | 409 | 422 | `IDEMPOTENCY_KEY_CONFLICT` |
/// | `InProgress` | 409 | 409 | `IDEMPOTENCY_IN_PROGRESS` |
/// | `OutcomeUnknown` | 409 | 409 | `IDEMPOTENCY_OUTCOME_UNKNOWN` |
/// | `KeyMissing` | 400 | 400 | `IDEMPOTENCY_KEY_MISSING` |
/// | `KeyInvalid` | 400 | 400 | `IDEMPOTENCY_KEY_INVALID` |
/// | `KeyExpired` | 412 | 412 | `IDEMPOTENCY_KEY_EXPIRED` |
/// | `BodyTooLarge` | 413 | 413 | `IDEMPOTENCY_BODY_TOO_LARGE` |
/// | `StoreUnavailable` | 503 | 503 | `IDEMPOTENCY_STORE_UNAVAILABLE` |
/// | `Overloaded` | 503 | 503 | `IDEMPOTENCY_OVERLOADED` |
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Refusal {
    /// The key was used with another payload.
    Conflict,
    /// The first request is still being executed, see [`Refusal::in_progress`].
    InProgress {
        /// For `Retry-After`; 0 is told as 1.
        retry_after_seconds: u64,
    },
    /// The outcome of an earlier request is not known and has to be resolved.
    OutcomeUnknown,
    /// The route requires a key.
    KeyMissing,
    /// See [`KeyHeaderError`](super::KeyHeaderError).
    KeyInvalid,
    /// The retention of the key is over.
    KeyExpired,
    /// The request body is over the limit.
    BodyTooLarge,
    /// The store does not answer, and the route fails closed.
    StoreUnavailable,
    /// Too many requests are being executed at once.
    Overloaded {
        /// For `Retry-After`; 0 is told as 1.
        retry_after_seconds: u64,
    },
}

impl Refusal {
    /// The first request holds its lease for this long still: in whole seconds, rounded up, at
    /// least 1.
    #[must_use]
    pub fn in_progress(remaining: Duration) -> Self {
        let started = u64::from(remaining.subsec_nanos() > 0);
        Self::InProgress {
            retry_after_seconds: remaining.as_secs().saturating_add(started).max(1),
        }
    }

    /// The status of the answer.
    #[must_use]
    pub const fn status(self, profile: Profile) -> u16 {
        match (self, profile) {
            (Self::Conflict, Profile::Ietf) => 422,
            (Self::Conflict | Self::InProgress { .. } | Self::OutcomeUnknown, _) => 409,
            (Self::KeyMissing | Self::KeyInvalid, _) => 400,
            (Self::KeyExpired, _) => 412,
            (Self::BodyTooLarge, _) => 413,
            (Self::StoreUnavailable | Self::Overloaded { .. }, _) => 503,
        }
    }

    /// The stable name for clients to act on, the same in both profiles.
    #[must_use]
    pub const fn code(self) -> &'static str {
        match self {
            Self::Conflict => "IDEMPOTENCY_KEY_CONFLICT",
            Self::InProgress { .. } => "IDEMPOTENCY_IN_PROGRESS",
            Self::OutcomeUnknown => "IDEMPOTENCY_OUTCOME_UNKNOWN",
            Self::KeyMissing => "IDEMPOTENCY_KEY_MISSING",
            Self::KeyInvalid => "IDEMPOTENCY_KEY_INVALID",
            Self::KeyExpired => "IDEMPOTENCY_KEY_EXPIRED",
            Self::BodyTooLarge => "IDEMPOTENCY_BODY_TOO_LARGE",
            Self::StoreUnavailable => "IDEMPOTENCY_STORE_UNAVAILABLE",
            Self::Overloaded { .. } => "IDEMPOTENCY_OVERLOADED",
        }
    }

    /// The refusal of a [`code`](Self::code). `retry_after_seconds` counts for those that time mends.
    #[must_use]
    pub fn from_code(code: &str, retry_after_seconds: u64) -> Option<Self> {
        let all = [
            Self::Conflict,
            Self::InProgress {
                retry_after_seconds,
            },
            Self::OutcomeUnknown,
            Self::KeyMissing,
            Self::KeyInvalid,
            Self::KeyExpired,
            Self::BodyTooLarge,
            Self::StoreUnavailable,
            Self::Overloaded {
                retry_after_seconds,
            },
        ];
        all.into_iter().find(|refusal| refusal.code() == code)
    }

    /// For `Retry-After`, in seconds, at least 1; only where waiting is what helps.
    #[must_use]
    pub fn retry_after_seconds(self) -> Option<u64> {
        match self {
            Self::InProgress {
                retry_after_seconds: s,
            }
            | Self::Overloaded {
                retry_after_seconds: s,
            } => Some(s.max(1)),
            _ => None,
        }
    }

    /// What happened, and what the client should do.
    pub(super) const fn message(self, profile: Profile) -> &'static str {
        match self {
            Self::Conflict => match profile {
                Profile::Default => "Idempotency-Key already used with different payload",
                Profile::Ietf => {
                    "This Idempotency-Key was already used with a different payload. \
                     Send the first payload again, or a new key for a new operation."
                }
            },
            Self::InProgress { .. } => {
                "A request with this Idempotency-Key is in progress. \
                 Retry with the same key and payload after the time in Retry-After."
            }
            Self::OutcomeUnknown => {
                "The outcome of an earlier request with this Idempotency-Key is not known. \
                 Check whether it took effect before you send it again with a new key."
            }
            Self::KeyMissing => {
                "This operation requires an Idempotency-Key header. \
                 Send a new unique key, such as a UUID, with each operation, and the same key with each retry."
            }
            Self::KeyInvalid => {
                "The Idempotency-Key header is malformed. Send it once, with 1 to 255 printable ASCII \
                 characters in double quotes, such as \"8e03978e-40d5-43e8-bc93-6894a57f9324\"."
            }
            Self::KeyExpired => {
                "This Idempotency-Key has expired. \
                 Check whether the first request took effect before you send it again with a new key."
            }
            Self::BodyTooLarge => {
                "The request body is over the limit of this route. Send a smaller one."
            }
            Self::StoreUnavailable => {
                "This request was not executed, because it could not be checked for a duplicate. \
                 Retry with the same key and payload."
            }
            Self::Overloaded { .. } => {
                "This request was not executed, because too many are in progress. \
                 Retry with the same key and payload after the time in Retry-After."
            }
        }
    }

    /// `type` and `title` of the problem.
    pub(super) const fn problem(self) -> (&'static str, &'static str) {
        macro_rules! draft {
            ($section:literal) => {
                concat!(
                    "https://datatracker.ietf.org/doc/html/",
                    "draft-ietf-httpapi-idempotency-key-header-07#section-",
                    $section
                )
            };
        }
        match self {
            Self::KeyInvalid => (draft!("2.1"), "Idempotency-Key is malformed"),
            Self::Conflict => (draft!("2.2"), "Idempotency-Key is already used"),
            Self::KeyExpired => (draft!("2.3"), "Idempotency-Key has expired"),
            Self::InProgress { .. } => (
                draft!("2.6"),
                "A request is outstanding for this Idempotency-Key",
            ),
            Self::KeyMissing => (draft!("2.7"), "Idempotency-Key is missing"),
            Self::OutcomeUnknown => ("about:blank", "Conflict"),
            Self::BodyTooLarge => ("about:blank", "Content Too Large"),
            Self::StoreUnavailable | Self::Overloaded { .. } => {
                ("about:blank", "Service Unavailable")
            }
        }
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// One of each.
    pub(in crate::http) const ALL: [Refusal; 9] = [
        Refusal::Conflict,
        Refusal::InProgress {
            retry_after_seconds: 30,
        },
        Refusal::OutcomeUnknown,
        Refusal::KeyMissing,
        Refusal::KeyInvalid,
        Refusal::KeyExpired,
        Refusal::BodyTooLarge,
        Refusal::StoreUnavailable,
        Refusal::Overloaded {
            retry_after_seconds: 0,
        },
    ];

    #[test]
    fn every_refusal_is_found_by_its_code() {
        for refusal in ALL {
            let seconds = match refusal {
                Refusal::InProgress {
                    retry_after_seconds,
                }
                | Refusal::Overloaded {
                    retry_after_seconds,
                } => retry_after_seconds,
                _ => 7,
            };
            assert_eq!(Refusal::from_code(refusal.code(), seconds), Some(refusal));
        }
        assert_eq!(Refusal::from_code("CONFLICT", 0), None);
    }

    #[test]
    fn every_refusal_has_the_written_status() {
        let statuses = |profile| ALL.map(|refusal| refusal.status(profile));
        let expected = [409, 409, 409, 400, 400, 412, 413, 503, 503];
        assert_eq!(statuses(Profile::Default), expected);
        let expected = [422, 409, 409, 400, 400, 412, 413, 503, 503];
        assert_eq!(statuses(Profile::Ietf), expected);
    }

    #[test]
    fn codes_are_distinct_and_so_are_the_types_that_are_not_blank() {
        let mut codes: Vec<_> = ALL.map(Refusal::code).to_vec();
        codes.sort_unstable();
        codes.dedup();
        assert_eq!(codes.len(), ALL.len());
        let mut types: Vec<_> = ALL.iter().map(|refusal| refusal.problem().0).collect();
        types.sort_unstable();
        types.dedup();
        assert_eq!(types.len(), 5 + 1);
    }

    #[test]
    fn the_remaining_lease_is_rounded_up_to_seconds_and_at_least_one() {
        for (remaining, seconds) in [
            (Duration::ZERO, 1),
            (Duration::from_nanos(1), 1),
            (Duration::from_millis(999), 1),
            (Duration::from_secs(1), 1),
            (Duration::from_millis(1001), 2),
            (Duration::from_secs(30), 30),
            (Duration::MAX, u64::MAX),
        ] {
            let refusal = Refusal::in_progress(remaining);
            assert_eq!(refusal.retry_after_seconds(), Some(seconds));
        }
        let zero = Refusal::InProgress {
            retry_after_seconds: 0,
        };
        assert_eq!(zero.retry_after_seconds(), Some(1));
    }

    #[test]
    fn only_refusals_that_time_mends_say_how_long_to_wait() {
        let waits = ALL.map(|refusal| refusal.retry_after_seconds());
        let expected = [None, Some(30), None, None, None, None, None, None, Some(1)];
        assert_eq!(waits, expected);
    }
}
