//! What clients did and were told, in the order of a clock that all processes share.

use crate::judge::Report;
use serde::{Deserialize, Serialize};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::io::Write;
use std::sync::{Condvar, Mutex, MutexGuard};
use std::time::Duration;

/// How long the next event of a test may be away.
const PATIENCE: Duration = Duration::from_secs(60);

/// Nanoseconds on the machine's monotonic clock: the same in every process of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Stamp(pub u64);

impl Stamp {
    /// The present.
    #[must_use]
    pub fn now() -> Self {
        let now = rustix::time::clock_gettime(rustix::time::ClockId::Monotonic);
        Self(now.tv_sec as u64 * 1_000_000_000 + now.tv_nsec as u64)
    }

    pub(crate) fn after(self, span: Duration) -> Self {
        Self(self.0.saturating_add(span.as_nanos() as u64))
    }
}

/// An outcome, as far as it takes to tell it from any other.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Outcome(u64);

impl Outcome {
    /// Of these bytes.
    #[must_use]
    pub fn of(bytes: &[u8]) -> Self {
        let mut hasher = DefaultHasher::new();
        bytes.hash(&mut hasher);
        Self(hasher.finish())
    }
}

/// One thing that a client did or was told. All are about one key.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Entry {
    /// A client was granted a lease and executes. To write this entry is the execution.
    Executed {
        /// The key.
        key: String,
        /// The attempt of the lease.
        attempt: u32,
        /// Before `begin` was called.
        asked: Stamp,
        /// After it had answered.
        granted: Stamp,
        /// How long the lease lives.
        lease: Duration,
        /// What this execution is going to store.
        outcome: Outcome,
    },
    /// `finish` was acknowledged.
    Finished {
        /// The key.
        key: String,
        /// The attempt of the lease.
        attempt: u32,
        /// After the acknowledgement.
        at: Stamp,
        /// What was stored.
        outcome: Outcome,
    },
    /// The owner is about to release: from here on another may be granted a lease.
    Releasing {
        /// The key.
        key: String,
        /// The attempt of the lease.
        attempt: u32,
        /// Before the release was asked for.
        at: Stamp,
    },
    /// `finish` was told that the lease is not its owner's any more.
    Stale {
        /// The key.
        key: String,
        /// The attempt of the lease.
        attempt: u32,
        /// After the answer.
        at: Stamp,
        /// The winner's outcome, if one was told.
        winner: Option<Outcome>,
    },
    /// `begin` answered with a stored outcome.
    Replayed {
        /// The key.
        key: String,
        /// Before `begin` was called.
        asked: Stamp,
        /// What was replayed.
        outcome: Outcome,
    },
    /// `begin` answered with anything else, and nothing was executed.
    Refused {
        /// The key.
        key: String,
        /// Before `begin` was called.
        asked: Stamp,
        /// The decision's name.
        decision: String,
    },
    /// A call failed: its outcome is unknown.
    Failed {
        /// The key.
        key: String,
    },
}

impl Entry {
    /// The key that it is about.
    #[must_use]
    pub fn key(&self) -> &str {
        match self {
            Self::Executed { key, .. }
            | Self::Finished { key, .. }
            | Self::Releasing { key, .. }
            | Self::Stale { key, .. }
            | Self::Replayed { key, .. }
            | Self::Refused { key, .. }
            | Self::Failed { key } => key,
        }
    }

    /// As one line of JSON, with its end.
    #[must_use]
    pub fn to_line(&self) -> String {
        let json = serde_json::to_string(self).expect("plain data");
        json + "\n"
    }

    /// Reads a line; `None` where a kill has torn it.
    #[must_use]
    pub fn from_line(line: &str) -> Option<Self> {
        serde_json::from_str(line).ok()
    }
}

/// Every [`Entry`] so far. Shared by the clients of a process.
pub struct Ledger {
    state: Mutex<State>,
    finished: Condvar,
}

#[derive(Default)]
struct State {
    entries: Vec<Entry>,
    finishes: u64,
    told: Option<Box<dyn Write + Send>>,
}

impl Default for Ledger {
    fn default() -> Self {
        Self {
            state: Mutex::default(),
            finished: Condvar::new(),
        }
    }
}

impl Ledger {
    /// A ledger that also writes every entry to `to` as a line, and flushes it.
    #[must_use]
    pub fn telling(to: impl Write + Send + 'static) -> Self {
        let ledger = Self::default();
        ledger.lock().told = Some(Box::new(to));
        ledger
    }

    /// Takes an entry down.
    ///
    /// # Panics
    /// Where it cannot be told: what is not taken down did not happen.
    pub fn note(&self, entry: Entry) {
        let mut state = self.lock();
        if let Some(to) = &mut state.told {
            let line = entry.to_line();
            to.write_all(line.as_bytes()).expect("it is read");
            to.flush().expect("it is read");
        }
        if matches!(entry, Entry::Finished { .. }) {
            state.finishes += 1;
            self.finished.notify_all();
        }
        state.entries.push(entry);
    }

    /// Waits until `more` outcomes were acknowledged from now on.
    ///
    /// # Panics
    /// Where that takes longer than a minute: the clients are stuck, L2 is broken.
    pub fn wait_for_finishes(&self, more: u64) {
        let state = self.lock();
        let wanted = state.finishes + more;
        let waited = self
            .finished
            .wait_timeout_while(state, PATIENCE, |state| state.finishes < wanted);
        let (_state, timeout) = waited.expect("nobody panics with it");
        assert!(!timeout.timed_out(), "no {more} finishes in {PATIENCE:?}");
    }

    /// Every key that was executed.
    #[must_use]
    pub fn keys(&self) -> Vec<String> {
        let state = self.lock();
        let executed = |entry: &Entry| match entry {
            Entry::Executed { key, .. } => Some(key.clone()),
            _ => None,
        };
        let mut keys: Vec<String> = state.entries.iter().filter_map(executed).collect();
        keys.sort_unstable();
        keys.dedup();
        keys
    }

    /// Holds everything so far against what is promised.
    #[must_use]
    pub fn judge(&self) -> Report {
        Report::of(&self.lock().entries)
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("nobody panics with it")
    }
}
