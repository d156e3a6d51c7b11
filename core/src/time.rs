//! [`Timestamp`] and [`Clock`]: a store's clock decides every deadline; nobody else's does.

use std::ops::Add;
use std::time::Duration;

use serde::{Deserialize, Serialize};

/// A moment on a store's clock, in milliseconds since the Unix epoch.
///
/// Arithmetic saturates. Fractions of a millisecond in a [`Duration`] are cut off; policies refuse
/// durations below a millisecond when they are built.
#[derive(
    Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
#[serde(transparent)]
pub struct Timestamp(u64);

impl Timestamp {
    /// From milliseconds since the Unix epoch.
    #[must_use]
    pub const fn from_millis(millis: u64) -> Self {
        Self(millis)
    }

    /// Milliseconds since the Unix epoch.
    #[must_use]
    pub const fn as_millis(self) -> u64 {
        self.0
    }

    /// The time from `earlier` to `self`; zero where `earlier` is later.
    #[must_use]
    pub const fn since(self, earlier: Self) -> Duration {
        self.after(earlier).span()
    }

    /// [`Timestamp::since`] in milliseconds.
    #[must_use]
    pub(crate) const fn after(self, earlier: Self) -> Millis {
        Millis(self.0.saturating_sub(earlier.0))
    }

    /// The moment `span` earlier.
    #[must_use]
    pub(crate) const fn back(self, span: Millis) -> Self {
        Self(self.0.saturating_sub(span.0))
    }
}

impl Add<Duration> for Timestamp {
    type Output = Self;

    fn add(self, span: Duration) -> Self {
        self + Millis::from(span)
    }
}

impl Add<Millis> for Timestamp {
    type Output = Self;

    fn add(self, span: Millis) -> Self {
        Self(self.0.saturating_add(span.0))
    }
}

/// Tells the time. Two are used: a store's, for deadlines, and the client's, for
/// [`Lease::remaining`](crate::Lease::remaining), which has to be monotonic.
pub trait Clock: Send + Sync {
    /// The present moment. Should not go backwards.
    fn now(&self) -> Timestamp;
}

impl<C: Clock + ?Sized> Clock for std::sync::Arc<C> {
    fn now(&self) -> Timestamp {
        (**self).now()
    }
}

/// The machine's clock: the wall clock read once, the monotonic clock from then on, so that a
/// change of the wall clock moves no deadline.
#[cfg(not(all(target_family = "wasm", target_os = "unknown")))]
#[derive(Clone, Copy)]
pub struct SystemClock {
    wall: u64,
    start: std::time::Instant,
}

#[cfg(not(all(target_family = "wasm", target_os = "unknown")))]
impl SystemClock {
    /// Reads the wall clock.
    #[must_use]
    pub fn new() -> Self {
        let wall = std::time::SystemTime::now()
            .duration_since(std::time::UNIX_EPOCH)
            .map_or(0, millis);
        Self {
            wall,
            start: std::time::Instant::now(),
        }
    }
}

#[cfg(not(all(target_family = "wasm", target_os = "unknown")))]
impl Default for SystemClock {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(not(all(target_family = "wasm", target_os = "unknown")))]
impl Clock for SystemClock {
    fn now(&self) -> Timestamp {
        Timestamp(self.wall.saturating_add(millis(self.start.elapsed())))
    }
}

#[cfg(not(all(target_family = "wasm", target_os = "unknown")))]
impl std::fmt::Debug for SystemClock {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("SystemClock")
    }
}

#[cfg_attr(idemp_small, inline(never))] // a page downloads it, once
pub(crate) fn millis(span: Duration) -> u64 {
    // Without the 128 bits of `as_millis`.
    let millis = span.as_secs().min(u64::MAX / 1000) * 1000;
    millis.saturating_add(u64::from(span.subsec_millis()))
}

/// A duration as whole milliseconds, on the wire.
pub(crate) mod as_millis {
    use serde::{Deserialize, Deserializer, Serializer};
    use std::time::Duration;

    pub(crate) fn serialize<S: Serializer>(span: &Duration, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_u64(super::millis(*span))
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Duration, D::Error> {
        u64::deserialize(from).map(Duration::from_millis)
    }
}

/// A span in whole milliseconds: half the size of a [`Duration`].
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub(crate) struct Millis(u64);

impl Millis {
    #[cfg_attr(idemp_small, inline(never))]
    pub(crate) const fn span(self) -> Duration {
        Duration::from_millis(self.0)
    }
}

impl Millis {
    pub(crate) const fn of_secs(secs: u64) -> Self {
        Self(secs * 1000)
    }

    pub(crate) const fn count(self) -> u64 {
        self.0
    }

    pub(crate) const fn is_zero(self) -> bool {
        self.0 == 0
    }
}

impl From<u64> for Millis {
    fn from(millis: u64) -> Self {
        Self(millis)
    }
}

impl From<Duration> for Millis {
    fn from(span: Duration) -> Self {
        Self(millis(span))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn deadlines_saturate_instead_of_wrapping() {
        let end = Timestamp::from_millis(u64::MAX);
        assert_eq!(end + Duration::MAX, end);
        assert_eq!(
            Timestamp::from_millis(5).since(Timestamp::from_millis(9)),
            Duration::ZERO
        );
        assert_eq!(
            Timestamp::from_millis(5)
                .back(Millis::from(1000))
                .as_millis(),
            0
        );
    }

    #[test]
    fn the_system_clock_stands_near_the_wall_clock_and_never_goes_back() {
        let clock = SystemClock::new();
        let first = clock.now();
        assert!(first.as_millis() > 1_600_000_000_000);
        assert!((0..1000).map(|_| clock.now()).is_sorted());
    }
}
