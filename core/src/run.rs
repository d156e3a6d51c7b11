//! `run`: work that is executed once, and [`RunError`].

use std::future::Future;
#[cfg(feature = "tokio")]
use std::time::Duration;

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::asynchronous::{AsyncLease, LeaseHandle};
use crate::decision::{Decision, InProgress};
use crate::error::{Error, LeaseError};
use crate::fingerprint::Fingerprint;
use crate::idempotency::Idempotency;
use crate::key::{Key, Scope};
use crate::lease::Lease;
use crate::store::{AsyncStore, Store};

impl<S: Store> Idempotency<S> {
    /// Runs `work` once for this key and payload, and gives every repetition its value.
    ///
    /// Where `work` fails, the slot is released, so that the next request with this payload tries
    /// again; where it cannot tell whether it had an effect, let it call
    /// [`Lease::mark_unknown`] first.
    ///
    /// If the value cannot be stored because the store is down, it is returned all the same;
    /// until the lease lapses nothing is executed again.
    ///
    /// # Errors
    /// [`RunError`].
    pub fn run<T, E>(
        &self,
        scope: &Scope,
        key: &Key,
        payload: &(impl Serialize + ?Sized),
        work: impl FnOnce(&mut Lease<S>) -> Result<T, E>,
    ) -> Result<T, RunError<E>>
    where
        T: Serialize + DeserializeOwned,
    {
        let fingerprint = Fingerprint::of_value(payload).map_err(Error::Payload)?;
        let mut lease = match self.begin(scope, key, &fingerprint)? {
            Decision::Miss(mut lease) if lease.remaining().is_zero() => {
                // The process stood still, and somebody else may have taken over. Where this fails
                // the lease lapses, or has.
                let _ = lease.forget();
                return Err(RunError::InProgress(InProgress::unheard_of()));
            }
            Decision::Miss(lease) => lease,
            other => return RunError::refused(other),
        };
        // Dropped on the way out, the lease releases.
        let value = work(&mut lease).map_err(RunError::Work)?;
        let finished = lease.finish(&value);
        RunError::finished(value, finished)
    }
}

impl<S: AsyncStore + 'static> Idempotency<S> {
    /// Runs `work` once for this key and payload, and gives every repetition its value: see
    /// [`Idempotency::run`].
    ///
    /// With the feature `tokio` the lease is kept alive while the work runs, and released if the
    /// future is dropped.
    ///
    /// # Errors
    /// [`RunError`].
    pub async fn run_async<T, E, W>(
        &self,
        scope: &Scope,
        key: &Key,
        payload: &(impl Serialize + ?Sized),
        work: impl FnOnce(LeaseHandle<S>) -> W,
    ) -> Result<T, RunError<E>>
    where
        T: Serialize + DeserializeOwned,
        W: Future<Output = Result<T, E>>,
    {
        let fingerprint = Fingerprint::of_value(payload).map_err(Error::Payload)?;
        let decision = self.begin_async(scope, key, &fingerprint).await?;
        self.run_decided(decision, work).await
    }

    async fn run_decided<T, E, W>(
        &self,
        decision: Decision<AsyncLease<S>>,
        work: impl FnOnce(LeaseHandle<S>) -> W,
    ) -> Result<T, RunError<E>>
    where
        T: Serialize + DeserializeOwned,
        W: Future<Output = Result<T, E>>,
    {
        #[cfg_attr(not(feature = "tokio"), allow(unused_mut))]
        let mut lease = match decision {
            Decision::Miss(mut lease) if lease.remaining().is_zero() => {
                let _ = lease.forget().await; // as in `run`
                return Err(RunError::InProgress(InProgress::unheard_of()));
            }
            Decision::Miss(lease) => lease,
            other => return RunError::refused(other),
        };
        #[cfg(feature = "tokio")]
        lease.keep_alive();
        match work(lease.handle()).await {
            Ok(value) => {
                let finished = lease.finish(&value).await;
                RunError::finished(value, finished)
            }
            Err(error) => {
                if !lease.held().settled {
                    // Where this fails the lease lapses; the observer was told.
                    let _ = lease.release().await;
                }
                Err(RunError::Work(error))
            }
        }
    }

    /// Like [`Idempotency::run_async`], but a duplicate waits for the value of the execution that
    /// is under way, at most for `limit`.
    ///
    /// # Errors
    /// [`RunError`].
    #[cfg(feature = "tokio")]
    pub async fn run_waiting<T, E, W>(
        &self,
        scope: &Scope,
        key: &Key,
        payload: &(impl Serialize + ?Sized),
        limit: Duration,
        work: impl FnOnce(LeaseHandle<S>) -> W,
    ) -> Result<T, RunError<E>>
    where
        T: Serialize + DeserializeOwned,
        W: Future<Output = Result<T, E>>,
    {
        let fingerprint = Fingerprint::of_value(payload).map_err(Error::Payload)?;
        let decision = self.begin_waiting(scope, key, &fingerprint, limit).await?;
        self.run_decided(decision, work).await
    }
}

/// Why `run` has no value.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RunError<E> {
    /// The work failed, and the slot was released.
    #[error("the work failed")]
    Work(#[source] E),
    /// The key was used with another payload.
    #[error("the idempotency key was used with another payload")]
    Conflict,
    /// Somebody else is executing it; or did so after this owner's lease had lapsed; or may have
    /// taken over, since the process stood still for a lease before the work began.
    #[error("the work is in progress elsewhere; ask again later")]
    InProgress(InProgress),
    /// It may have been executed, and the outcome is not known.
    #[error("the outcome of an earlier attempt is unknown; it has to be resolved first")]
    Unknown,
    /// It was done, and its outcome is no longer kept.
    #[error("the outcome of this key is no longer kept; use a new key")]
    Expired,
    /// The stored outcome is not of this type.
    #[error("the stored outcome has another type")]
    Outcome(#[source] serde_json::Error),
    /// The work was done, but its value cannot be turned into JSON; duplicates are told that the
    /// outcome is unknown.
    #[error("the value of the work cannot be serialised")]
    Value(#[source] serde_json::Error),
    /// The store failed before the work: it was not run.
    #[error(transparent)]
    Idempotency(#[from] Error),
}

impl<E> RunError<E> {
    pub(crate) fn refused<T: DeserializeOwned, L>(decision: Decision<L>) -> Result<T, Self> {
        match decision {
            Decision::Hit(replay) => replay.json().map_err(Self::Outcome),
            Decision::Conflict => Err(Self::Conflict),
            Decision::InProgress(other) => Err(Self::InProgress(other)),
            Decision::Expired => Err(Self::Expired),
            // A miss is not refused; should one get here, nothing is known of it.
            Decision::Unknown | Decision::Miss(_) => Err(Self::Unknown),
        }
    }

    pub(crate) fn finished<T: DeserializeOwned>(
        value: T,
        finished: Result<(), LeaseError>,
    ) -> Result<T, Self> {
        match finished {
            Ok(()) => Ok(value),
            Err(LeaseError::Value(error)) => Err(Self::Value(error)),
            Err(LeaseError::Stale(stale)) => match stale.winner {
                Some(winner) => winner.json().map_err(Self::Outcome),
                None => Err(Self::InProgress(InProgress::unheard_of())),
            },
            // The work is done: its value is worth more than the store's word.
            Err(LeaseError::Store(_) | LeaseError::Slot(_) | LeaseError::Ceiling) => Ok(value),
        }
    }
}
