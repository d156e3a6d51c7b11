//! [`Locking`]: the store inside a transaction of the caller's, with a lock in place of the lease.
//!
//! A lease inside a transaction is a row that nobody else sees before the outcome replaces it, in
//! the same transaction. So it is not written: it is kept here, and one write puts the outcome in
//! place of what the lease would have replaced. What `apply` says of the two puts one after the
//! other it says of the one.

use std::collections::HashMap;

use idemp::{
    AsyncStore, Expect, Put, Slot, SlotKey, StoreError, Swap, Swapped, Timestamp, Verdict, apply,
};
use tokio::sync::Mutex;
use tokio_postgres::error::SqlState;

use crate::ask::{Ask, answer, leases, locked};
use crate::error::meaning;
use crate::store::PostgresStore;
use crate::within::{Transaction, Within, as_shown};

impl PostgresStore {
    /// The store inside a transaction of the caller's, for a `begin_in` and its `finish_in` in the
    /// same transaction and by the same value: like [`PostgresStore::within`], and faster, since
    /// nothing is written before the outcome.
    ///
    /// A lock on the key (`pg_advisory_xact_lock`) stands in for the lease. Duplicates that come this
    /// way, too, wait for the transaction, up to [`lock_wait`](crate::PostgresOptions::lock_wait), as
    /// they do there. What is different:
    ///
    /// - To commit without `finish_in` leaves nothing behind. A lease that is to outlive the
    ///   transaction, for a worker that ends the job, needs [`PostgresStore::within`].
    /// - Who comes another way, [`Idempotency::begin_async`](idemp::Idempotency::begin_async) or
    ///   [`PostgresStore::within`], does not see the lock, and may execute meanwhile. Then
    ///   `finish_in` is [`Stale`](idemp::LeaseError::Stale), and all that the transaction wrote has
    ///   to be rolled back, as ever. So send all requests under a key the same way.
    /// - Under REPEATABLE READ and SERIALIZABLE it is `finish_in` that finds a duplicate which
    ///   committed since the snapshot, and is `Stale` or retryable.
    ///
    /// Each question is one trip. A transaction for thousands of keys takes as many places in the
    /// server's table of locks (`max_locks_per_transaction`): it, too, needs
    /// [`PostgresStore::within`].
    pub fn locking<'t>(&'t self, transaction: impl Into<Transaction<'t>>) -> Locking<'t> {
        Locking {
            within: self.within(transaction),
            unwritten: Mutex::default(),
        }
    }
}

/// The store inside a transaction of the caller's, with a lock in place of the lease: see
/// [`PostgresStore::locking`].
pub struct Locking<'t> {
    within: Within<'t>,
    /// Locked for a whole question: the next one is to see what came of it.
    unwritten: Mutex<HashMap<SlotKey, Unwritten>>,
}

/// What was put here and lies in no table.
struct Unwritten {
    slot: Slot,
    put_at: Timestamp,
    over: Over,
}

/// What the table has to hold instead.
#[derive(Clone, Copy)]
struct Over {
    expect: Expect,
    /// No row, not even one that is gone.
    empty: bool,
}

impl AsyncStore for Locking<'_> {
    async fn swap(&self, swap: &Swap) -> Result<Swapped, StoreError> {
        let ends = !leases(&swap.put);
        let mut all = self.unwritten.lock().await;
        // Taken out: where this question fails nobody knows what became of the lease.
        let lease = all.remove(&swap.slot);
        match &lease {
            // A lease of before lies in the table.
            None if ends => return self.within.swap(swap).await,
            Some(lease) if ends && lease.wins(swap) => {
                return self.write(swap, lease.over, lease.put_at).await;
            }
            _ => {}
        }
        let (now, there) = self.look(swap).await?;
        let (over, mut slot) = match &lease {
            None => {
                let (expect, empty) = (swap.expect, there.is_none());
                (Over { expect, empty }, there)
            }
            Some(lease) => match lease.instead_of(there, swap, now) {
                Verdict::Won => (lease.over, Some(lease.slot.clone())),
                verdict => return Ok(Swapped { now, verdict }),
            },
        };
        let swapped = apply(&mut slot, swap, now);
        match slot {
            _ if swapped.verdict != Verdict::Won => {
                all.extend(lease.map(|lease| (swap.slot.clone(), lease)));
            }
            Some(slot) if !ends => {
                let put_at = now;
                let lease = Unwritten { slot, put_at, over };
                all.insert(swap.slot.clone(), lease);
            }
            _ => return self.write(swap, over, now).await,
        }
        Ok(swapped)
    }
}

impl Locking<'_> {
    /// Locks the key, and reads what lies there, in one trip.
    async fn look(&self, swap: &Swap) -> Result<(Timestamp, Option<Slot>), StoreError> {
        let ask = Ask::new(swap)?;
        let store = self.within.store();
        let wait = as_shown(store.lock_wait());
        let asked = ask.lock(&wait);
        let row = self.within.ask(store.lock_within(), &asked);
        let row = row.await?.map_err(|error| meaning(&error))?;
        locked(&row)?.ok_or(StoreError::Busy)
    }

    /// One write for all that was put since, over what lay there before. `seen_at`: the last time
    /// that the server told.
    async fn write(
        &self,
        swap: &Swap,
        Over { expect, empty }: Over,
        seen_at: Timestamp,
    ) -> Result<Swapped, StoreError> {
        let (slot, put) = (swap.slot.clone(), swap.put.clone());
        let whole = Swap { slot, expect, put };
        let ask = Ask::new(&whole)?;
        if !(empty && ask.claims()) {
            return self.within.put(&whole, false).await;
        }
        let store = self.within.store();
        let wait = as_shown(store.lock_wait());
        let outcome = ask.outcome(&wait);
        match self.within.ask(store.put_within(), &outcome).await? {
            // Somebody who does not take the lock. Who it was the transaction, which ended with it,
            // cannot tell.
            Err(error) if error.code() == Some(&SqlState::UNIQUE_VIOLATION) => Ok(Swapped {
                now: seen_at,
                verdict: Verdict::Lost(None),
            }),
            Err(error) => Err(meaning(&error)),
            Ok(row) => answer(&row)?.ok_or(StoreError::Busy),
        }
    }
}

impl Unwritten {
    /// Whether `swap` replaces this. When does not matter: while the transaction goes on and nobody
    /// else wrote, which the write finds out, this is not gone.
    fn wins(&self, swap: &Swap) -> bool {
        let mut slot = Some(self.slot.clone());
        apply(&mut slot, swap, self.put_at).verdict == Verdict::Won
    }

    /// Whether this still stands for what lies in the table, or who defeated it: somebody who does
    /// not take the lock.
    fn instead_of(&self, mut there: Option<Slot>, swap: &Swap, now: Timestamp) -> Verdict {
        let replaces = Swap {
            slot: swap.slot.clone(),
            expect: self.over.expect,
            put: Put::Remove,
        };
        apply(&mut there, &replaces, now).verdict
    }
}
