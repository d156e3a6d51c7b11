//! The async driver of [`Idempotency`], and [`AsyncLease`], its guard.

use std::fmt;
use std::ops::Deref;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use serde::Serialize;

use crate::body::Body;
use crate::decision::Decision;
use crate::error::{Error, LeaseError, SlotError, StoreError};
use crate::event::EventKind;
use crate::fingerprint::Fingerprint;
use crate::finish::Verb;
use crate::idempotency::{Idempotency, REASKS};
use crate::key::{Key, Scope, SlotKey};
use crate::lease::{Held, json};
use crate::machine::{Machine, Step};
use crate::resolve::{Resolution, Resolved};
use crate::store::AsyncStore;
use crate::token::LeaseToken;

impl<S: AsyncStore + 'static> Idempotency<S> {
    /// Decides what becomes of the request with this scope, key and fingerprint.
    ///
    /// Dropping the future leaves the outcome unknown: a lease may have been granted that nobody
    /// holds, and lapses.
    ///
    /// # Errors
    /// [`Error`] where the store failed or a record cannot be read: then the outcome is unknown,
    /// and nothing may be executed.
    pub async fn begin_async(
        &self,
        scope: &Scope,
        key: &Key,
        fingerprint: &Fingerprint,
    ) -> Result<Decision<AsyncLease<S>>, Error> {
        let slot = SlotKey::new(scope, key);
        self.emit(&slot, EventKind::Check, None);
        let asked_at = self.now();
        let decision = self.decide_async(&slot, fingerprint).await;
        self.begun(&slot, &decision);
        Ok(decision?.map(|token| AsyncLease::new(self.clone(), Held::new(token, asked_at))))
    }

    pub(crate) async fn decide_async(
        &self,
        slot: &SlotKey,
        fingerprint: &Fingerprint,
    ) -> Result<Decision, Error> {
        let mut machine = self.begin_machine(slot.clone(), fingerprint);
        Decision::or_busy(self.drive_async(&mut machine).await)
    }

    /// Takes up a lease that was begun elsewhere. Dropped, it releases, unless it is detached.
    #[must_use]
    pub fn resume_async(&self, token: LeaseToken) -> AsyncLease<S> {
        AsyncLease::new(self.clone(), Held::resumed(token))
    }

    /// Settles a key whose outcome is unknown, or whose lease lapsed.
    ///
    /// # Errors
    /// [`Error`] where the store failed or a record cannot be read: it may be repeated.
    pub async fn resolve_async(
        &self,
        scope: &Scope,
        key: &Key,
        resolution: Resolution,
    ) -> Result<Resolved, Error> {
        let slot = SlotKey::new(scope, key);
        let resolved = self
            .drive_async(&mut self.resolve_machine(slot.clone(), resolution))
            .await;
        self.resolved(resolved, &slot)
    }

    pub(crate) async fn drive_async<T, M>(&self, machine: &mut M) -> Result<T, Error>
    where
        M: Machine<Done = Result<T, SlotError>>,
    {
        self.drive_on(&self.shared.store, machine, REASKS).await
    }
}

impl<S> Idempotency<S> {
    /// The async driver. What lives across the await makes the future large: it is the question,
    /// and no more.
    pub(crate) async fn drive_on<A, T, M>(
        &self,
        store: &A,
        machine: &mut M,
        reasks: u8,
    ) -> Result<T, Error>
    where
        A: AsyncStore,
        M: Machine<Done = Result<T, SlotError>>,
    {
        let mut errors = 0;
        let mut swap = match machine.start(self.fresh()) {
            Step::Done(done) => return Ok(done?),
            Step::Ask(swap) => swap,
        };
        loop {
            let reply = store.swap(&swap).await;
            let step = match reply {
                Ok(reply) => self.replied(machine, reply),
                Err(StoreError::Unavailable(_)) if errors < reasks => {
                    errors += 1;
                    machine.start(self.fresh())
                }
                Err(error) => return Err(error.into()),
            };
            match step {
                Step::Done(done) => return Ok(done?),
                Step::Ask(next) => swap = next,
            }
        }
    }
}

/// The exclusive right to execute, as a guard for async code. Dropped without a word, it releases
/// in the background (feature `tokio`, inside a runtime); elsewhere the lease then lapses.
///
/// What reads and prolongs the lease is on [`LeaseHandle`], which it derefs to. Every verb may be
/// repeated where the store failed. After [`AsyncLease::finish`] was called, a drop does nothing,
/// even if the call failed: whether the outcome is stored is unknown then.
pub struct AsyncLease<S: AsyncStore + 'static> {
    handle: LeaseHandle<S>,
    #[cfg(feature = "tokio")]
    keep_alive: Option<crate::keep_alive::KeepAlive>,
}

/// A lease that counts as an owner until this is dropped.
#[cfg(feature = "tokio")]
struct Owner<S: AsyncStore + 'static>(LeaseHandle<S>);

/// What the work may do with its lease while the guard is elsewhere. Cheap to clone.
pub struct LeaseHandle<S>(Arc<Handled<S>>);

struct Handled<S> {
    idem: Idempotency<S>,
    held: Mutex<Held>,
}

impl<S: AsyncStore + 'static> LeaseHandle<S> {
    /// The lease as data.
    #[must_use]
    pub fn token(&self) -> LeaseToken {
        self.held().token.clone()
    }

    /// Counts the attempts at this key from 1: see [`LeaseToken::attempt`].
    #[must_use]
    pub fn attempt(&self) -> u32 {
        self.held().token.attempt
    }

    /// The fencing token for systems downstream: see [`LeaseToken::fence`].
    #[must_use]
    pub fn fence(&self) -> u64 {
        self.held().token.fence
    }

    /// What an earlier attempt, or this one, published: a recovery point.
    #[must_use]
    pub fn published(&self) -> Option<Body> {
        self.held().token.published().cloned()
    }

    /// What is certainly left of the lease, to be checked right before an irreversible effect:
    /// see [`Lease::remaining`](crate::Lease::remaining).
    #[must_use]
    pub fn remaining(&self) -> Duration {
        self.held().remaining(self.idem().now())
    }

    /// Prolongs the lease by the policy's lease from now, up to its ceiling.
    ///
    /// # Errors
    /// [`LeaseError`].
    pub async fn renew(&self) -> Result<(), LeaseError> {
        self.call(Verb::Renew).await
    }

    /// Records interim state for duplicates and for the next attempt, and prolongs the lease.
    ///
    /// # Errors
    /// [`LeaseError`].
    pub async fn publish(&self, state: &(impl Serialize + ?Sized)) -> Result<(), LeaseError> {
        self.publish_bytes(json(state)?).await
    }

    /// [`LeaseHandle::publish`] with bytes of any kind.
    ///
    /// # Errors
    /// [`LeaseError`].
    pub async fn publish_bytes(&self, state: impl Into<Body>) -> Result<(), LeaseError> {
        self.call(Verb::Publish(state.into())).await
    }

    /// It is not known what came of it: duplicates are told `Unknown` until it is resolved.
    ///
    /// # Errors
    /// [`LeaseError`].
    pub async fn mark_unknown(&self) -> Result<(), LeaseError> {
        self.call(Verb::Fence).await
    }

    pub(crate) fn idem(&self) -> &Idempotency<S> {
        &self.0.idem
    }

    pub(crate) fn held(&self) -> MutexGuard<'_, Held> {
        // Nothing panics under this lock; were it so, the token would still be whole.
        let held = &self.0.held;
        held.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }

    async fn call(&self, verb: Verb) -> Result<(), LeaseError> {
        let idem = self.idem();
        let (mut machine, asked_at) = self.held().call(idem, &verb);
        let reply = idem.drive_async(&mut machine).await;
        self.held().replied(idem, &verb, reply, asked_at)
    }
}

impl<S: AsyncStore + 'static> AsyncLease<S> {
    pub(crate) fn new(idem: Idempotency<S>, held: Held) -> Self {
        #[cfg(feature = "tokio")]
        idem.shared.owners.enter();
        Self {
            #[cfg(feature = "tokio")]
            keep_alive: None,
            handle: LeaseHandle(Arc::new(Handled {
                idem,
                held: Mutex::new(held),
            })),
        }
    }

    /// What may be handed to the work while this guard waits for its end.
    #[must_use]
    pub fn handle(&self) -> LeaseHandle<S> {
        self.handle.clone()
    }

    /// Renews the lease in the background, each third of it, until this guard ends the work, is
    /// dropped, or the policy's ceiling is reached. A failed renewal is tried again.
    #[cfg(feature = "tokio")]
    pub fn keep_alive(&mut self) {
        self.keep_alive = Some(crate::keep_alive::KeepAlive::start(self.handle.clone()));
    }

    /// Stores the outcome, as JSON, and starts the retention; where the key is held only while
    /// active, vacates it.
    ///
    /// # Errors
    /// [`LeaseError`]; with [`LeaseError::Value`] the key is fenced, since the work is done.
    pub async fn finish(&mut self, outcome: &(impl Serialize + ?Sized)) -> Result<(), LeaseError> {
        match json(outcome) {
            Ok(bytes) => self.finish_bytes(bytes).await,
            Err(error) => {
                self.finish_unstorable().await?;
                Err(error)
            }
        }
    }

    /// [`AsyncLease::finish`] with bytes of any kind.
    ///
    /// # Errors
    /// [`LeaseError`].
    pub async fn finish_bytes(&mut self, outcome: impl Into<Body>) -> Result<(), LeaseError> {
        self.end(Verb::Finish(outcome.into())).await
    }

    /// It is done, but the outcome cannot be stored: duplicates are told `Unknown`.
    ///
    /// # Errors
    /// [`LeaseError`].
    pub async fn finish_unstorable(&mut self) -> Result<(), LeaseError> {
        self.end(Verb::FinishUnstorable).await
    }

    /// Gives the slot back after a failure. The key stays bound to the payload.
    ///
    /// # Errors
    /// [`LeaseError`].
    pub async fn release(&mut self) -> Result<(), LeaseError> {
        self.end(Verb::Release).await
    }

    /// Gives up the binding, too, since nothing was done; on a later attempt only releases.
    ///
    /// # Errors
    /// [`LeaseError`].
    pub async fn forget(&mut self) -> Result<(), LeaseError> {
        self.end(Verb::Forget).await
    }

    /// Leaves the lease alone and gives it as data, for whoever ends the work.
    #[must_use = "without the token nobody can end the work before the lease lapses"]
    pub fn detach(self) -> LeaseToken {
        let mut held = self.held();
        held.settled = true;
        held.token.clone()
    }

    async fn end(&mut self, verb: Verb) -> Result<(), LeaseError> {
        #[cfg(feature = "tokio")]
        drop(self.keep_alive.take());
        self.handle.call(verb).await
    }
}

impl<S: AsyncStore + 'static> Deref for AsyncLease<S> {
    type Target = LeaseHandle<S>;

    fn deref(&self) -> &LeaseHandle<S> {
        &self.handle
    }
}

impl<S: AsyncStore + 'static> Drop for AsyncLease<S> {
    fn drop(&mut self) {
        #[cfg(feature = "tokio")]
        {
            drop(self.keep_alive.take());
            let owner = Owner(self.handle.clone());
            if self.held().settled {
                return;
            }
            if let Ok(runtime) = tokio::runtime::Handle::try_current() {
                runtime.spawn(async move {
                    let _ = owner.0.call(Verb::Release).await;
                    drop(owner);
                });
            }
        }
    }
}

#[cfg(feature = "tokio")]
impl<S: AsyncStore + 'static> Drop for Owner<S> {
    fn drop(&mut self) {
        self.0.idem().shared.owners.leave();
    }
}

impl<S> Clone for LeaseHandle<S> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

impl<S: AsyncStore + 'static> fmt::Debug for LeaseHandle<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("LeaseHandle")
            .field(&self.held().token)
            .finish()
    }
}

impl<S: AsyncStore + 'static> fmt::Debug for AsyncLease<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("AsyncLease")
            .field(&self.held().token)
            .finish()
    }
}
