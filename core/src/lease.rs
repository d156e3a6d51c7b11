//! [`Lease`]: the guard of an execution, for blocking stores.

use std::fmt;
use std::time::Duration;

use serde::Serialize;

use crate::body::Body;
use crate::error::{Error, LeaseError};
use crate::event::EventKind;
use crate::finish::{LeaseCall, LeaseReply, Verb};
use crate::idempotency::Idempotency;
use crate::policy::Usage;
use crate::store::Store;
use crate::time::Timestamp;
use crate::token::LeaseToken;

/// The exclusive right to execute, as a guard: dropped without a word, it releases.
///
/// Every verb may be repeated where the store failed. After [`Lease::finish`] was called, a drop
/// does nothing, even if the call failed: whether the outcome is stored is unknown then, and to
/// release would be to let it be executed again.
pub struct Lease<S: Store> {
    idem: Idempotency<S>,
    held: Held,
}

impl<S: Store> Lease<S> {
    pub(crate) fn new(idem: Idempotency<S>, held: Held) -> Self {
        Self { idem, held }
    }

    /// The lease as data.
    #[must_use]
    pub fn token(&self) -> &LeaseToken {
        &self.held.token
    }

    /// Counts the attempts at this key from 1: see [`LeaseToken::attempt`].
    #[must_use]
    pub fn attempt(&self) -> u32 {
        self.held.token.attempt
    }

    /// The fencing token for systems downstream: see [`LeaseToken::fence`].
    #[must_use]
    pub fn fence(&self) -> u64 {
        self.held.token.fence
    }

    /// What an earlier attempt, or this one, published: a recovery point.
    #[must_use]
    pub fn published(&self) -> Option<&Body> {
        self.held.token.published()
    }

    /// What is certainly left of the lease, to be checked right before an irreversible effect.
    ///
    /// Counted on the client's monotonic clock from before the ask was sent, less a twentieth of
    /// the lease as a margin for clocks that run at different rates.
    #[must_use]
    pub fn remaining(&self) -> Duration {
        self.held.remaining(self.idem.now())
    }

    /// Prolongs the lease by the policy's lease from now, up to its ceiling.
    ///
    /// # Errors
    /// [`LeaseError`].
    pub fn renew(&mut self) -> Result<(), LeaseError> {
        self.call(Verb::Renew)
    }

    /// Records interim state for duplicates and for the next attempt, and prolongs the lease.
    ///
    /// # Errors
    /// [`LeaseError`].
    pub fn publish(&mut self, state: &(impl Serialize + ?Sized)) -> Result<(), LeaseError> {
        self.publish_bytes(json(state)?)
    }

    /// [`Lease::publish`] with bytes of any kind.
    ///
    /// # Errors
    /// [`LeaseError`].
    pub fn publish_bytes(&mut self, state: impl Into<Body>) -> Result<(), LeaseError> {
        self.call(Verb::Publish(state.into()))
    }

    /// Stores the outcome, as JSON, and starts the retention; where the key is held only while
    /// active, vacates it.
    ///
    /// # Errors
    /// [`LeaseError`]; with [`LeaseError::Value`] the key is fenced, since the work is done.
    pub fn finish(&mut self, outcome: &(impl Serialize + ?Sized)) -> Result<(), LeaseError> {
        match json(outcome) {
            Ok(bytes) => self.finish_bytes(bytes),
            Err(error) => {
                self.finish_unstorable()?;
                Err(error)
            }
        }
    }

    /// [`Lease::finish`] with bytes of any kind.
    ///
    /// # Errors
    /// [`LeaseError`].
    pub fn finish_bytes(&mut self, outcome: impl Into<Body>) -> Result<(), LeaseError> {
        self.call(Verb::Finish(outcome.into()))
    }

    /// It is done, but the outcome cannot be stored: duplicates are told `Unknown`.
    ///
    /// # Errors
    /// [`LeaseError`].
    pub fn finish_unstorable(&mut self) -> Result<(), LeaseError> {
        self.call(Verb::FinishUnstorable)
    }

    /// It is not known what came of it: duplicates are told `Unknown` until it is resolved.
    ///
    /// # Errors
    /// [`LeaseError`].
    pub fn mark_unknown(&mut self) -> Result<(), LeaseError> {
        self.call(Verb::Fence)
    }

    /// Gives the slot back after a failure. The key stays bound to the payload.
    ///
    /// # Errors
    /// [`LeaseError`].
    pub fn release(&mut self) -> Result<(), LeaseError> {
        self.call(Verb::Release)
    }

    /// Gives up the binding, too, since nothing was done; on a later attempt only releases.
    ///
    /// # Errors
    /// [`LeaseError`].
    pub fn forget(&mut self) -> Result<(), LeaseError> {
        self.call(Verb::Forget)
    }

    /// Leaves the lease alone and gives it as data, for whoever ends the work.
    #[must_use = "without the token nobody can end the work before the lease lapses"]
    pub fn detach(mut self) -> LeaseToken {
        self.held.settled = true;
        self.held.token.clone()
    }

    fn call(&mut self, verb: Verb) -> Result<(), LeaseError> {
        let (mut machine, asked_at) = self.held.call(&self.idem, &verb);
        let reply = self.idem.drive(&mut machine);
        self.held.replied(&self.idem, &verb, reply, asked_at)
    }
}

impl<S: Store> Drop for Lease<S> {
    fn drop(&mut self) {
        if !self.held.settled {
            // Where this fails the lease lapses; the observer was told.
            let _ = self.call(Verb::Release);
        }
    }
}

impl<S: Store> fmt::Debug for Lease<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Lease").field(&self.held.token).finish()
    }
}

/// A lease in hand: what the guards have in common.
pub(crate) struct Held {
    pub(crate) token: LeaseToken,
    /// On the client's clock: before the ask that prolonged the lease last. None where that was
    /// not an ask of this process.
    asked_at: Option<Timestamp>,
    /// A drop does nothing.
    pub(crate) settled: bool,
}

impl Held {
    pub(crate) fn new(token: LeaseToken, asked_at: Timestamp) -> Self {
        Self {
            asked_at: Some(asked_at),
            ..Self::resumed(token)
        }
    }

    /// A token that travelled: how long ago it was granted is not known on this clock.
    pub(crate) fn resumed(token: LeaseToken) -> Self {
        Self {
            token,
            asked_at: None,
            settled: false,
        }
    }

    pub(crate) fn remaining(&self, now: Timestamp) -> Duration {
        let Some(asked_at) = self.asked_at else {
            return Duration::ZERO;
        };
        let left = self.token.remaining_when_seen();
        let margin = self.token.policy.lease() / 20;
        left.saturating_sub(now.since(asked_at))
            .saturating_sub(margin)
    }

    /// Prepares a verb: from here on an unknown outcome has to stay unknown. The client's time
    /// comes with it where the verb prolongs the lease; no other needs it.
    pub(crate) fn call<S>(
        &mut self,
        idem: &Idempotency<S>,
        verb: &Verb,
    ) -> (LeaseCall, Option<Timestamp>) {
        let prolongs = matches!(verb, Verb::Renew | Verb::Publish(_));
        self.settled |= !prolongs;
        if let (Verb::Finish(outcome), Usage::Replay) = (verb, self.token.policy.usage) {
            idem.emit(&self.token.slot, EventKind::StoreStart, Some(outcome));
        }
        let machine = LeaseCall::new(self.token.clone(), verb.clone());
        (machine, prolongs.then(|| idem.now()))
    }

    pub(crate) fn replied<S>(
        &mut self,
        idem: &Idempotency<S>,
        verb: &Verb,
        reply: Result<LeaseReply, Error>,
        asked_at: Option<Timestamp>,
    ) -> Result<(), LeaseError> {
        #[cfg(feature = "tokio")]
        if !matches!(verb, Verb::Renew) {
            idem.shared.wakers.wake(&self.token.slot);
        }
        match reply {
            Ok(LeaseReply::Held(token)) => {
                // A renewal and a publication may overtake each other on the way back.
                if token.seen_at >= self.token.seen_at {
                    (self.token, self.asked_at) = (token, asked_at);
                }
                let (kind, state) = match verb {
                    Verb::Publish(state) => (EventKind::Published, Some(state)),
                    _ => (EventKind::Renewed, None),
                };
                idem.emit(&self.token.slot, kind, state);
                Ok(())
            }
            Ok(LeaseReply::Ended) => {
                let outcome = match verb {
                    Verb::Finish(outcome) => Some(outcome),
                    _ => None,
                };
                idem.emit(&self.token.slot, self.ended(verb), outcome);
                Ok(())
            }
            Ok(LeaseReply::Ceiling) => {
                idem.emit(&self.token.slot, EventKind::Ceiling, None);
                Err(LeaseError::Ceiling)
            }
            Ok(LeaseReply::Stale(stale)) => {
                self.settled = true;
                idem.emit(&self.token.slot, EventKind::Stale, None);
                Err(LeaseError::Stale(stale))
            }
            Err(error) => {
                idem.failed(&self.token.slot, &error);
                Err(match error {
                    Error::Store(error) => LeaseError::Store(error),
                    Error::Slot(error) => LeaseError::Slot(error),
                    Error::Payload(error) => LeaseError::Value(error),
                })
            }
        }
    }

    fn ended(&self, verb: &Verb) -> EventKind {
        let policy = &self.token.policy;
        match verb {
            Verb::Finish(_) | Verb::FinishUnstorable if policy.usage == Usage::WhileActive => {
                EventKind::Vacated
            }
            Verb::Finish(_) => EventKind::Stored {
                retention: policy.retention(),
            },
            Verb::FinishUnstorable => EventKind::Unstorable,
            Verb::Fence => EventKind::Fenced,
            Verb::Forget if self.token.attempt == 1 => EventKind::Forgotten,
            _ => EventKind::Released,
        }
    }
}

pub(crate) fn json(value: &(impl Serialize + ?Sized)) -> Result<Vec<u8>, LeaseError> {
    serde_json::to_vec(value).map_err(LeaseError::Value)
}
