//! For tests: a clock that stands still, randomness that counts, a store that fails on demand.
//!
//! ```
//! use std::time::Duration;
//! use idemp::testing::FakeClock;
//! use idemp::{Idempotency, MemoryStore};
//!
//! let clock = FakeClock::new();
//! let idem = Idempotency::new(MemoryStore::with(clock.clone(), 100));
//! clock.advance(Duration::from_secs(24 * 3600));
//! ```

use std::collections::VecDeque;
use std::future::Future;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use crate::entropy::Entropy;
use crate::error::StoreError;
use crate::slot::{Swap, Swapped};
use crate::store::{AsyncStore, MaybeSend, Store};
use crate::time::{Clock, Timestamp, millis};

/// A clock that moves when it is told to. Clones share the time.
#[derive(Debug, Clone)]
pub struct FakeClock(Arc<AtomicU64>);

impl FakeClock {
    /// A clock that stands at 1,000,000,000,000 ms: in September 2001.
    #[must_use]
    pub fn new() -> Self {
        Self(Arc::new(AtomicU64::new(1_000_000_000_000)))
    }

    /// Moves the time on.
    pub fn advance(&self, span: Duration) {
        self.0.fetch_add(millis(span), Ordering::SeqCst);
    }

    /// Sets the time, backwards also.
    pub fn set(&self, now: Timestamp) {
        self.0.store(now.as_millis(), Ordering::SeqCst);
    }
}

impl Default for FakeClock {
    fn default() -> Self {
        Self::new()
    }
}

impl Clock for FakeClock {
    fn now(&self) -> Timestamp {
        Timestamp::from_millis(self.0.load(Ordering::SeqCst))
    }
}

/// 1, 2, 3 … as 16 bytes, big-endian: what is drawn is known beforehand.
#[derive(Debug, Default)]
pub struct CountingEntropy(AtomicU64);

impl Entropy for CountingEntropy {
    fn bytes(&self) -> [u8; 16] {
        u128::from(self.0.fetch_add(1, Ordering::SeqCst) + 1).to_be_bytes()
    }
}

/// What becomes of one swap.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// Nothing: it goes through.
    None,
    /// It never arrives, and the caller gets an error.
    Lost,
    /// It is carried out, and the caller gets an error.
    AnswerLost,
    /// The store has no room.
    Full,
    /// It is carried out, and the answer never comes. A blocking caller gets a time-out.
    Hang,
}

/// A store before another one: it fails as it is told, swap by swap, and counts.
#[derive(Debug, Default)]
pub struct Flaky<S> {
    store: S,
    faults: Mutex<VecDeque<Fault>>,
    always: Mutex<Option<Fault>>,
    swaps: AtomicU64,
}

impl<S> Flaky<S> {
    /// Before `store`, without a fault yet.
    pub fn new(store: S) -> Self {
        let (faults, always, swaps) = Default::default();
        Self {
            store,
            faults,
            always,
            swaps,
        }
    }

    /// The next swaps fare like this; those behind them go through, or as [`Flaky::always`] says.
    pub fn next(&self, faults: impl IntoIterator<Item = Fault>) {
        lock(&self.faults).extend(faults);
    }

    /// All swaps fare like this, behind those of [`Flaky::next`].
    pub fn always(&self, fault: Fault) {
        *lock(&self.always) = Some(fault);
    }

    /// How many swaps were asked for.
    pub fn swaps(&self) -> u64 {
        self.swaps.load(Ordering::SeqCst)
    }

    /// The store behind it.
    pub fn store(&self) -> &S {
        &self.store
    }

    fn fault(&self) -> Fault {
        self.swaps.fetch_add(1, Ordering::SeqCst);
        let always = lock(&self.always).unwrap_or(Fault::None);
        lock(&self.faults).pop_front().unwrap_or(always)
    }
}

impl<S: Store> Flaky<S> {
    fn swap_with(&self, fault: Fault, swap: &Swap) -> Result<Swapped, StoreError> {
        match fault {
            Fault::None => self.store.swap(swap),
            Fault::Lost => Err(StoreError::unavailable("never arrived")),
            Fault::Full => Err(StoreError::Full),
            Fault::AnswerLost => self
                .store
                .swap(swap)
                .and(Err(StoreError::unavailable("answer lost"))),
            Fault::Hang => self.store.swap(swap).and(Err(StoreError::Timeout)),
        }
    }
}

impl<S: Store> Store for Flaky<S> {
    fn swap(&self, swap: &Swap) -> Result<Swapped, StoreError> {
        self.swap_with(self.fault(), swap)
    }
}

impl<S: Store> AsyncStore for Flaky<S> {
    fn swap(&self, swap: &Swap) -> impl Future<Output = Result<Swapped, StoreError>> + MaybeSend {
        let fault = self.fault();
        let reply = self.swap_with(fault, swap);
        async move {
            if fault == Fault::Hang {
                std::future::pending::<()>().await;
            }
            reply
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex
        .lock()
        .unwrap_or_else(|poisoned| poisoned.into_inner())
}
