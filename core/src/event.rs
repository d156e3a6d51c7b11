//! [`Event`] and [`Observer`]: one event a step, with no raw key, body or fingerprint in it.
//!
//! An event's text is a line for a log:
//!
//! ```text
//! [IDEMP] CHECK user=793ccc64... key=final-17...
//! [IDEMP] STORED user=793ccc64... key=final-17... → task=vt_4e80c173 (TTL=24h)
//! ```

use std::fmt;
use std::time::Duration;

use crate::key::{Redacted, SlotKey};

/// Something happened to a key. `Display` gives the line for the log.
#[derive(Clone, Copy)]
pub struct Event<'a> {
    pub(crate) kind: EventKind,
    pub(crate) slot: &'a SlotKey,
    pub(crate) user_part: usize,
    pub(crate) task: Option<&'a str>,
}

/// What happened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum EventKind {
    /// A request came with a key.
    Check,
    /// It is to be executed.
    Miss {
        /// Counts the attempts from 1.
        attempt: u32,
    },
    /// A stored outcome answered it.
    Hit,
    /// The key was used with another payload.
    Conflict,
    /// Somebody else is executing it.
    InProgress {
        /// What is left of the lease.
        remaining: Duration,
    },
    /// Its outcome is unknown.
    Unknown,
    /// Its outcome is no longer kept.
    Expired,
    /// An outcome is about to be stored.
    StoreStart,
    /// An outcome was stored.
    Stored {
        /// How long it is replayed.
        retention: Duration,
    },
    /// It was done, and the outcome could not be stored.
    Unstorable,
    /// The work ended and the slot is vacant.
    Vacated,
    /// The owner cannot tell what came of it.
    Fenced,
    /// The lease was prolonged.
    Renewed,
    /// Interim state was recorded.
    Published,
    /// The slot was given back after a failure.
    Released,
    /// The slot was given back, with its binding to the payload.
    Forgotten,
    /// An owner came too late and changed nothing.
    Stale,
    /// A lease was not prolonged: it has reached its ceiling.
    Ceiling,
    /// An unknown outcome was resolved.
    Resolved,
    /// A store or a record failed. The outcome is unknown.
    Failed {
        /// The error's message.
        message: &'static str,
    },
}

impl<'a> Event<'a> {
    /// What happened.
    #[must_use]
    pub fn kind(&self) -> EventKind {
        self.kind
    }

    /// At most the first 8 characters of the scope's user, and `...`.
    #[must_use]
    pub fn user(&self) -> String {
        self.part().to_string()
    }

    /// At most the first 8 characters of the key, and `...`.
    #[must_use]
    pub fn key(&self) -> String {
        Redacted(self.slot.key()).to_string()
    }

    /// What the outcome is about, where a label was set: see
    /// [`Builder::label`](crate::Builder::label).
    #[must_use]
    pub fn task(&self) -> Option<&'a str> {
        self.task
    }

    /// Whether somebody should look: a failed store, a late owner, an unknown outcome.
    #[must_use]
    pub fn is_warning(&self) -> bool {
        use EventKind::{Ceiling, Failed, Fenced, Stale, Unknown};
        matches!(
            self.kind,
            Failed { .. } | Stale | Unknown | Fenced | Ceiling
        )
    }

    fn part(&self) -> Redacted<'a> {
        Redacted(
            self.slot
                .scope_parts()
                .get(self.user_part)
                .copied()
                .unwrap_or(""),
        )
    }
}

impl EventKind {
    /// The word that stands for it in the log.
    #[must_use]
    pub fn word(&self) -> &'static str {
        match self {
            Self::Check => "CHECK",
            Self::Miss { .. } => "MISS",
            Self::Hit => "HIT",
            Self::Conflict => "CONFLICT",
            Self::InProgress { .. } => "IN_PROGRESS",
            Self::Unknown => "UNKNOWN",
            Self::Expired => "EXPIRED",
            Self::StoreStart => "STORE START",
            Self::Stored { .. } => "STORED",
            Self::Unstorable => "UNSTORABLE",
            Self::Vacated => "VACATED",
            Self::Fenced => "FENCED",
            Self::Renewed => "RENEWED",
            Self::Published => "PUBLISHED",
            Self::Released => "RELEASED",
            Self::Forgotten => "FORGOTTEN",
            Self::Stale => "STALE",
            Self::Ceiling => "CEILING",
            Self::Resolved => "RESOLVED",
            Self::Failed { .. } => "FAILED",
        }
    }
}

impl fmt::Display for Event<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let key = Redacted(self.slot.key());
        write!(
            f,
            "[IDEMP] {} user={} key={key}",
            self.kind.word(),
            self.part()
        )?;
        if let Some(task) = self.task {
            let arrow = if self.kind == EventKind::StoreStart {
                ""
            } else {
                "→ "
            };
            write!(f, " {arrow}task={task}")?;
        }
        match self.kind {
            EventKind::Conflict => f.write_str(" payload mismatch"),
            EventKind::Stored { retention } => write!(f, " (TTL={})", Span(retention)),
            EventKind::Miss { attempt } if attempt > 1 => write!(f, " attempt={attempt}"),
            EventKind::InProgress { remaining } => {
                let seconds = remaining.as_millis().div_ceil(1000);
                let remaining = Duration::from_secs(seconds.try_into().unwrap_or(u64::MAX));
                write!(f, " lease={}", Span(remaining))
            }
            EventKind::Failed { message } => write!(f, " {message}"),
            _ => Ok(()),
        }
    }
}

impl fmt::Debug for Event<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Is told every event. It runs on the caller's path: keep it short. A panic in it is caught and
/// changes nothing.
///
/// Every `Fn(&Event)` is one.
pub trait Observer: Send + Sync {
    /// Something happened.
    fn on_event(&self, event: &Event<'_>);
}

impl<F: Fn(&Event<'_>) + Send + Sync> Observer for F {
    fn on_event(&self, event: &Event<'_>) {
        self(event);
    }
}

/// Writes every event to `tracing`, with the target `idemp`: at level `WARN` where
/// [`Event::is_warning`], else `INFO`.
#[cfg(feature = "tracing")]
#[derive(Debug, Clone, Copy, Default)]
pub struct TracingObserver;

#[cfg(feature = "tracing")]
impl Observer for TracingObserver {
    fn on_event(&self, event: &Event<'_>) {
        if event.is_warning() {
            tracing::warn!(target: "idemp", "{event}");
        } else {
            tracing::info!(target: "idemp", "{event}");
        }
    }
}

/// A duration in its largest whole unit: `24h`, `90m`, `1500ms`.
struct Span(Duration);

impl fmt::Display for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let millis = self.0.as_millis();
        let units = [(3_600_000, "h"), (60_000, "m"), (1000, "s"), (1, "ms")];
        let unit = units
            .into_iter()
            .find(|(unit, _)| millis != 0 && millis % unit == 0);
        let (unit, name) = unit.unwrap_or((1, "ms"));
        write!(f, "{}{name}", millis / unit)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Key, Scope};

    #[test]
    fn the_lines_are_those_that_the_users_know() {
        let scope = Scope::new(["tenant", "793ccc64-0000-4000-8000-000000000000"]).unwrap();
        let slot = &SlotKey::new(&scope, &Key::new("final-1769660861").unwrap());
        let line = |kind, task| {
            Event {
                kind,
                slot,
                user_part: 1,
                task,
            }
            .to_string()
        };
        let day = Duration::from_secs(86_400);
        let task = Some("vt_4e80c173");
        for (kind, task, expected) in [
            (
                EventKind::Check,
                None,
                "[IDEMP] CHECK user=793ccc64... key=final-17...",
            ),
            (
                EventKind::Miss { attempt: 1 },
                None,
                "[IDEMP] MISS user=793ccc64... key=final-17...",
            ),
            (
                EventKind::StoreStart,
                task,
                "[IDEMP] STORE START user=793ccc64... key=final-17... task=vt_4e80c173",
            ),
            (
                EventKind::Stored { retention: day },
                task,
                "[IDEMP] STORED user=793ccc64... key=final-17... → task=vt_4e80c173 (TTL=24h)",
            ),
            (
                EventKind::Hit,
                task,
                "[IDEMP] HIT user=793ccc64... key=final-17... → task=vt_4e80c173",
            ),
            (
                EventKind::InProgress {
                    remaining: Duration::from_millis(21_599_978),
                },
                None,
                "[IDEMP] IN_PROGRESS user=793ccc64... key=final-17... lease=6h",
            ),
            (
                EventKind::Conflict,
                None,
                "[IDEMP] CONFLICT user=793ccc64... key=final-17... payload mismatch",
            ),
        ] {
            assert_eq!(line(kind, task), expected);
        }
    }

    #[test]
    fn spans_take_their_largest_whole_unit() {
        for (millis, text) in [
            (0, "0ms"),
            (1500, "1500ms"),
            (60_000, "1m"),
            (5_400_000, "90m"),
        ] {
            assert_eq!(Span(Duration::from_millis(millis)).to_string(), text);
        }
    }
}
