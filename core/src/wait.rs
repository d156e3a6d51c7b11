//! Waiting: for somebody else's outcome, and for the owners of this process to be done.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::pin::pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::{Instant, timeout_at};

use crate::asynchronous::AsyncLease;
use crate::decision::{Decision, InProgress};
use crate::error::Error;
use crate::event::EventKind;
use crate::fingerprint::Fingerprint;
use crate::idempotency::Idempotency;
use crate::key::{Key, Scope, SlotKey};
use crate::lease::Held;
use crate::store::AsyncStore;

/// The first and the longest pause between two looks at a key that another process holds.
const PAUSES: (Duration, Duration) = (Duration::from_millis(25), Duration::from_secs(1));

impl<S: AsyncStore + 'static> Idempotency<S> {
    /// Like [`Idempotency::begin_async`], but where somebody else is executing the request, waits
    /// for the outcome, at most for `limit`.
    ///
    /// An owner in this process wakes its waiters; one elsewhere is found by asking again after
    /// 25 ms, then twice as long each time up to a second, and when its lease lapses. Where the
    /// owner fails, one waiter gets the `Miss`.
    ///
    /// # Errors
    /// [`Error`], like [`Idempotency::begin_async`].
    pub async fn begin_waiting(
        &self,
        scope: &Scope,
        key: &Key,
        fingerprint: &Fingerprint,
        limit: Duration,
    ) -> Result<Decision<AsyncLease<S>>, Error> {
        let slot = SlotKey::new(scope, key);
        self.begin_while(slot, fingerprint, limit, |_| true).await
    }

    /// Like [`Idempotency::begin_async`], but where somebody else is executing the request and has
    /// published nothing yet, waits for the publication, at most for `limit`: for duplicates that
    /// join work which is active. Woken and asking again like [`Idempotency::begin_waiting`].
    ///
    /// # Errors
    /// [`Error`], like [`Idempotency::begin_async`].
    pub async fn begin_joining(
        &self,
        scope: &Scope,
        key: &Key,
        fingerprint: &Fingerprint,
        limit: Duration,
    ) -> Result<Decision<AsyncLease<S>>, Error> {
        let slot = SlotKey::new(scope, key);
        let nameless = |other: &InProgress| other.published.is_none();
        self.begin_while(slot, fingerprint, limit, nameless).await
    }

    async fn begin_while(
        &self,
        slot: SlotKey,
        fingerprint: &Fingerprint,
        limit: Duration,
        waits: impl Fn(&InProgress) -> bool,
    ) -> Result<Decision<AsyncLease<S>>, Error> {
        self.emit(&slot, EventKind::Check, None);
        // A limit beyond the clock's range is none.
        let deadline = Instant::now().checked_add(limit);
        let mut pause = PAUSES.0;
        loop {
            let waiting = self.shared.wakers.wait(&slot);
            let mut woken = pin!(waiting.notify.notified());
            // From here on no wake is missed.
            woken.as_mut().enable();
            let asked_at = self.now();
            let decision = self.decide_async(&slot, fingerprint).await;
            if let Ok(Decision::InProgress(other)) = &decision {
                let in_time = deadline.is_none_or(|deadline| Instant::now() < deadline);
                if in_time && waits(other) {
                    let lapse = other.remaining.max(Duration::from_millis(1));
                    let until = Instant::now() + pause.min(lapse);
                    pause = (pause * 2).min(PAUSES.1);
                    let until = deadline.map_or(until, |deadline| until.min(deadline));
                    let _ = timeout_at(until, woken).await;
                    continue;
                }
            }
            self.begun(&slot, &decision);
            let lease = |token| AsyncLease::new(self.clone(), Held::new(token, asked_at));
            return Ok(decision?.map(lease));
        }
    }

    /// Returns when no [`AsyncLease`] is alive and no release is under way: for a graceful
    /// shutdown, after new work is no longer accepted.
    pub async fn idle(&self) {
        self.shared.owners.idle().await;
    }
}

/// Counts the owners of this process. On cache lines of its own, since every miss writes to it.
#[derive(Default)]
#[repr(align(128))]
pub(crate) struct Owners {
    count: AtomicUsize,
    none: Notify,
}

impl Owners {
    pub(crate) fn enter(&self) {
        self.count.fetch_add(1, Ordering::SeqCst);
    }

    pub(crate) fn leave(&self) {
        if self.count.fetch_sub(1, Ordering::SeqCst) == 1 {
            self.none.notify_waiters();
        }
    }

    async fn idle(&self) {
        loop {
            let mut none = pin!(self.none.notified());
            // From here on the last one to go is not missed.
            none.as_mut().enable();
            if self.count.load(Ordering::SeqCst) == 0 {
                return;
            }
            none.await;
        }
    }
}

/// Wakes those who wait for a key. A wake may be for another key: it only means to look again.
pub(crate) struct Wakers {
    waiting: AtomicUsize,
    notifies: [Notify; 64],
}

/// Somebody waits.
struct Waiting<'a> {
    wakers: &'a Wakers,
    notify: &'a Notify,
}

impl Wakers {
    pub(crate) fn wake(&self, slot: &SlotKey) {
        // Whoever comes to wait after this load asks the store after the swap that led here.
        if self.waiting.load(Ordering::SeqCst) > 0 {
            self.notify(slot).notify_waiters();
        }
    }

    fn wait(&self, slot: &SlotKey) -> Waiting<'_> {
        self.waiting.fetch_add(1, Ordering::SeqCst);
        Waiting {
            wakers: self,
            notify: self.notify(slot),
        }
    }

    fn notify(&self, slot: &SlotKey) -> &Notify {
        let mut hasher = DefaultHasher::new();
        slot.hash(&mut hasher);
        &self.notifies[hasher.finish() as usize % self.notifies.len()]
    }
}

impl Default for Wakers {
    fn default() -> Self {
        Self {
            waiting: AtomicUsize::new(0),
            notifies: std::array::from_fn(|_| Notify::new()),
        }
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.wakers.waiting.fetch_sub(1, Ordering::SeqCst);
    }
}
