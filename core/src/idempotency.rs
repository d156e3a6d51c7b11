//! [`Idempotency`]: the façade, and its blocking driver.

use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use crate::begin::Begin;
use crate::body::Body;
#[cfg(not(all(target_family = "wasm", target_os = "unknown")))]
use crate::builder::Builder;
use crate::decision::Decision;
use crate::entropy::Entropy;
use crate::error::{Error, SlotError, StoreError};
use crate::event::{Event, EventKind, Observer};
use crate::fingerprint::Fingerprint;
use crate::key::{Key, Scope, SlotKey};
use crate::lease::{Held, Lease};
use crate::machine::{Machine, Step};
use crate::policy::Policy;
use crate::resolve::{Resolution, Resolve, Resolved};
use crate::slot::{Owner, Rev, Swapped, Verdict};
use crate::store::Store;
use crate::time::Clock;
use crate::token::LeaseToken;

/// Decides what becomes of requests with idempotency keys, against one store, under one
/// [`Policy`]. Cheap to clone.
///
/// The methods without a suffix are for a blocking [`Store`]; those that end in `_async` are for
/// an [`AsyncStore`](crate::AsyncStore).
///
/// ```
/// use idemp::{Decision, Fingerprint, Idempotency, Key, MemoryStore, Scope};
///
/// let idem = Idempotency::new(MemoryStore::new());
/// let scope = Scope::new(["user-1", "POST /api/video-tasks"])?;
/// let key = Key::new("final-1769660861")?;
/// let payload = Fingerprint::from_parts(1, [7; 32]); // in earnest: of the request
///
/// match idem.begin(&scope, &key, &payload)? {
///     Decision::Miss(mut lease) => lease.finish(&"vt_4e80c173")?,
///     other => panic!("a new key is a miss, not {other:?}"),
/// }
/// match idem.begin(&scope, &key, &payload)? {
///     Decision::Hit(replay) => assert_eq!(replay.json::<String>()?, "vt_4e80c173"),
///     other => panic!("the same again is a hit, not {other:?}"),
/// }
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct Idempotency<S> {
    pub(crate) shared: Arc<Shared<S>>,
    pub(crate) policy: Policy,
}

/// What the clones of one [`Idempotency`] have in common.
pub(crate) struct Shared<S> {
    pub(crate) store: S,
    pub(crate) entropy: Box<dyn Entropy>,
    pub(crate) clock: Box<dyn Clock>,
    pub(crate) observer: Option<Box<dyn Observer>>,
    pub(crate) label: Option<Label>,
    pub(crate) user_part: usize,
    #[cfg(feature = "tokio")]
    pub(crate) owners: crate::wait::Owners,
    #[cfg(feature = "tokio")]
    pub(crate) wakers: crate::wait::Wakers,
}

pub(crate) type Label = Box<dyn Fn(&[u8]) -> Option<String> + Send + Sync>;

/// After an error of the store that may have been a broken connection, a question is put so many
/// times more, at once. What the first one did is recognised.
pub(crate) const REASKS: u8 = 1;

impl<S> Idempotency<S> {
    /// With the default policy and the system's clock and randomness.
    #[cfg(not(all(target_family = "wasm", target_os = "unknown")))]
    #[must_use]
    pub fn new(store: S) -> Self {
        Builder::new(store).build()
    }

    /// Sets what differs from the defaults.
    #[cfg(not(all(target_family = "wasm", target_os = "unknown")))]
    #[must_use]
    pub fn builder(store: S) -> Builder<S> {
        Builder::new(store)
    }

    /// The same store under another policy.
    #[must_use]
    pub fn with_policy(&self, policy: Policy) -> Self {
        Self {
            shared: self.shared.clone(),
            policy,
        }
    }

    /// The policy.
    #[must_use]
    pub fn policy(&self) -> &Policy {
        &self.policy
    }

    /// The store.
    #[must_use]
    pub fn store(&self) -> &S {
        &self.shared.store
    }

    pub(crate) fn begin_machine(&self, slot: SlotKey, fingerprint: &Fingerprint) -> Begin {
        Begin::new(
            slot,
            *fingerprint,
            self.policy,
            Owner::from_bytes(self.shared.entropy.bytes()),
        )
    }

    pub(crate) fn resolve_machine(&self, slot: SlotKey, resolution: Resolution) -> Resolve {
        let id = Owner::from_bytes(self.shared.entropy.bytes());
        Resolve::new(slot, resolution, self.policy, id)
    }

    /// Tells what was decided.
    pub(crate) fn begun(&self, slot: &SlotKey, decision: &Result<Decision, Error>) {
        if self.shared.observer.is_none() {
            return;
        }
        match decision {
            Ok(Decision::Miss(token)) => {
                self.emit(
                    slot,
                    EventKind::Miss {
                        attempt: token.attempt(),
                    },
                    None,
                );
            }
            Ok(Decision::Hit(replay)) => self.emit(slot, EventKind::Hit, Some(&replay.outcome)),
            Ok(Decision::Conflict) => self.emit(slot, EventKind::Conflict, None),
            Ok(Decision::InProgress(other)) => {
                let kind = EventKind::InProgress {
                    remaining: other.remaining,
                };
                self.emit(slot, kind, other.published.as_ref());
            }
            Ok(Decision::Unknown) => self.emit(slot, EventKind::Unknown, None),
            Ok(Decision::Expired) => self.emit(slot, EventKind::Expired, None),
            Err(error) => self.failed(slot, error),
        }
    }

    pub(crate) fn resolved(
        &self,
        resolved: Result<Resolved, Error>,
        slot: &SlotKey,
    ) -> Result<Resolved, Error> {
        match &resolved {
            Ok(Resolved::Done) => self.emit(slot, EventKind::Resolved, None),
            Ok(_) => {}
            Err(error) => self.failed(slot, error),
        }
        resolved
    }

    pub(crate) fn failed(&self, slot: &SlotKey, error: &Error) {
        let message = match error {
            Error::Store(StoreError::Timeout) => "store timed out",
            Error::Store(StoreError::Busy) => "record held by a transaction",
            Error::Store(StoreError::Full) => "store full",
            Error::Store(_) => "store unavailable",
            Error::Slot(_) => "record unreadable",
            Error::Payload(_) => "payload not serialisable",
        };
        self.emit(slot, EventKind::Failed { message }, None);
    }

    pub(crate) fn emit(&self, slot: &SlotKey, kind: EventKind, outcome: Option<&Body>) {
        let Some(observer) = &self.shared.observer else {
            return;
        };
        // A hook that panics changes no result.
        let _ = catch_unwind(AssertUnwindSafe(|| {
            let label = self.shared.label.as_ref();
            let task = label
                .zip(outcome)
                .and_then(|(label, outcome)| label(outcome));
            let user_part = self.shared.user_part;
            observer.on_event(&Event {
                kind,
                slot,
                user_part,
                task: task.as_deref(),
            });
        }));
    }

    /// Hands a reply to the machine. One that won ends it, so no revision is drawn for it.
    pub(crate) fn replied<M: Machine>(&self, machine: &mut M, reply: Swapped) -> Step<M::Done> {
        let fresh = if reply.verdict == Verdict::Won {
            Rev::NIL
        } else {
            self.fresh()
        };
        machine.on_reply(reply, fresh)
    }

    pub(crate) fn fresh(&self) -> Rev {
        Rev::from_bytes(self.shared.entropy.bytes())
    }

    pub(crate) fn now(&self) -> crate::time::Timestamp {
        self.shared.clock.now()
    }
}

impl<S: Store> Idempotency<S> {
    /// Decides what becomes of the request with this scope, key and fingerprint.
    ///
    /// # Errors
    /// [`Error`] where the store failed or a record cannot be read: then the outcome is unknown,
    /// and nothing may be executed.
    pub fn begin(
        &self,
        scope: &Scope,
        key: &Key,
        fingerprint: &Fingerprint,
    ) -> Result<Decision<Lease<S>>, Error> {
        let mut machine = self.begin_machine(SlotKey::new(scope, key), fingerprint);
        self.emit(machine.slot(), EventKind::Check, None);
        let asked_at = self.now();
        let decision = Decision::or_busy(self.drive(&mut machine));
        self.begun(machine.slot(), &decision);
        Ok(decision?.map(|token| Lease::new(self.clone(), Held::new(token, asked_at))))
    }

    /// Takes up a lease that was begun elsewhere. Dropped, it releases, unless it is detached.
    #[must_use]
    pub fn resume(&self, token: LeaseToken) -> Lease<S> {
        Lease::new(self.clone(), Held::resumed(token))
    }

    /// Settles a key whose outcome is unknown, or whose lease lapsed.
    ///
    /// # Errors
    /// [`Error`] where the store failed or a record cannot be read: it may be repeated.
    pub fn resolve(
        &self,
        scope: &Scope,
        key: &Key,
        resolution: Resolution,
    ) -> Result<Resolved, Error> {
        let slot = SlotKey::new(scope, key);
        let resolved = self.drive(&mut self.resolve_machine(slot.clone(), resolution));
        self.resolved(resolved, &slot)
    }

    /// The blocking driver.
    pub(crate) fn drive<T, M>(&self, machine: &mut M) -> Result<T, Error>
    where
        M: Machine<Done = Result<T, SlotError>>,
    {
        let mut errors = 0;
        let mut step = machine.start(self.fresh());
        loop {
            step = match step {
                Step::Done(Ok(done)) => return Ok(done),
                Step::Done(Err(error)) => return Err(error.into()),
                Step::Ask(swap) => match self.shared.store.swap(&swap) {
                    Ok(reply) => self.replied(machine, reply),
                    Err(StoreError::Unavailable(_)) if errors < REASKS => {
                        errors += 1;
                        machine.start(self.fresh())
                    }
                    Err(error) => return Err(error.into()),
                },
            };
        }
    }
}

impl<S> Clone for Idempotency<S> {
    fn clone(&self) -> Self {
        Self {
            shared: self.shared.clone(),
            policy: self.policy,
        }
    }
}

impl<S: fmt::Debug> fmt::Debug for Idempotency<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Idempotency")
            .field("store", &self.shared.store)
            .field("policy", &self.policy)
            .finish_non_exhaustive()
    }
}
