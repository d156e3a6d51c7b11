//! `begin` and `finish` inside a transaction of the caller's, where the store has such a thing.

use serde::Serialize;

use crate::body::Body;
use crate::decision::Decision;
use crate::error::{Error, LeaseError};
use crate::event::EventKind;
use crate::fingerprint::Fingerprint;
use crate::finish::Verb;
use crate::idempotency::Idempotency;
use crate::key::{Key, Scope, SlotKey};
use crate::lease::{Held, json};
use crate::store::AsyncStore;
use crate::token::LeaseToken;

impl<S> Idempotency<S> {
    /// [`Idempotency::begin_async`] inside a transaction of the caller's: what it writes and the
    /// outcome are committed together, or not at all. `transaction` is the store in there, such as
    /// `PostgresStore::locking` and `PostgresStore::within`.
    ///
    /// On a `Miss`, write what is to be written, give the token to [`Idempotency::finish_in`], and
    /// commit. Whoever asks meanwhile waits for the transaction, up to the store's limit, and is
    /// then told `InProgress`. A rollback, or a crash, leaves nothing behind: the next request
    /// executes. The lease is of no use before the commit, and there is no guard: where the store
    /// wrote a lease, to commit without a word is to leave it to its lapse.
    ///
    /// Events tell what was asked; whether it is committed is seen by the caller alone.
    ///
    /// # Errors
    /// [`Error`]: roll back, and where it [is retryable](Error::is_retryable) begin again. It does
    /// not ask twice, since a failed transaction answers nothing more.
    pub async fn begin_in<T: AsyncStore>(
        &self,
        transaction: &T,
        scope: &Scope,
        key: &Key,
        fingerprint: &Fingerprint,
    ) -> Result<Decision, Error> {
        let slot = SlotKey::new(scope, key);
        self.emit(&slot, EventKind::Check, None);
        let mut machine = self.begin_machine(slot.clone(), fingerprint);
        let decision = Decision::or_busy(self.drive_on(transaction, &mut machine, 0).await);
        self.begun(&slot, &decision);
        decision
    }

    /// Stores the outcome, as JSON, inside a transaction of the caller's: see
    /// [`Idempotency::begin_in`]. The lease may also have been begun before, outside of it.
    ///
    /// # Errors
    /// [`LeaseError`]: roll back. After [`LeaseError::Stale`] nothing of this owner's may be
    /// committed: somebody else took over.
    pub async fn finish_in<T: AsyncStore>(
        &self,
        transaction: &T,
        lease: &LeaseToken,
        outcome: &(impl Serialize + ?Sized),
    ) -> Result<(), LeaseError> {
        self.finish_bytes_in(transaction, lease, json(outcome)?)
            .await
    }

    /// [`Idempotency::finish_in`] with bytes of any kind.
    ///
    /// # Errors
    /// [`LeaseError`], as there.
    pub async fn finish_bytes_in<T: AsyncStore>(
        &self,
        transaction: &T,
        lease: &LeaseToken,
        outcome: impl Into<Body>,
    ) -> Result<(), LeaseError> {
        let verb = Verb::Finish(outcome.into());
        let mut held = Held::resumed(lease.clone());
        let (mut machine, asked_at) = held.call(self, &verb);
        let reply = self.drive_on(transaction, &mut machine, 0).await;
        held.replied(self, &verb, reply, asked_at)
    }
}
