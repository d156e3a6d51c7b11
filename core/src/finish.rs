//! [`LeaseCall`]: what an owner does with its lease.
//!
//! Every change is conditional on the revision that the owner knows. Where another state lies in
//! the slot, the owner token tells whether it is the owner's own doing (a renewal elsewhere, an
//! answer that was lost) or somebody else's: then nothing is changed and the owner is told
//! [`Stale`].

use serde::{Deserialize, Serialize};
use std::time::Duration;

use crate::begin::MAX_ROUNDS;
use crate::body::Body;
use crate::decision::Replay;
use crate::error::SlotError;
use crate::head::{Record, State};
use crate::machine::{Machine, Step};
use crate::policy::{Lapse, Usage};
use crate::slot::{Expect, NewSlot, Put, Rev, Slot, Swap, Swapped, Verdict};
use crate::time::{Millis, Timestamp};
use crate::token::{LeaseToken, Published};

/// What an owner can do with its lease.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Verb {
    /// Store the outcome and start the retention; under [`Usage::WhileActive`], vacate the slot.
    /// Accepted also after a lapse or a release, while nobody took over.
    Finish(Body),
    /// Like `Finish`, for an outcome that cannot be stored: duplicates are told `Unknown`.
    FinishUnstorable,
    /// The owner cannot tell what came of it: duplicates are told `Unknown` until it is resolved.
    Fence,
    /// Prolong the lease by the policy's lease from now, up to its ceiling.
    Renew,
    /// Record interim state for duplicates and for the next attempt. Prolongs like `Renew`.
    Publish(Body),
    /// Give the slot back after a failure. The key stays bound to the payload.
    Release,
    /// Give up the binding, too, since nothing was done. A first attempt only: a later one
    /// releases, since an earlier one may have executed.
    Forget,
}

/// What came of a [`Verb`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[must_use]
pub enum LeaseReply {
    /// The lease goes on, with this token.
    Held(LeaseToken),
    /// It is done, now or by an earlier ask whose answer was lost.
    Ended,
    /// The lease has reached its ceiling and is not prolonged.
    Ceiling,
    /// The lease is not this owner's any more, and nothing was changed.
    Stale(Stale),
}

/// What an owner is told that lost its lease.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stale {
    /// The outcome that is stored, where there is one for the same payload.
    pub winner: Option<Replay>,
}

/// An owner's [`Verb`] on its way. A [`Machine`].
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct LeaseCall {
    pub(crate) token: LeaseToken,
    pub(crate) verb: Verb,
    /// The revision of the ask that is under way.
    pub(crate) rev: Rev,
    /// The span that the ask under way prolongs the lease by.
    pub(crate) lease_for: Duration,
    pub(crate) rounds: u8,
}

type Replied = Result<LeaseReply, SlotError>;

impl LeaseCall {
    /// `verb` by the owner of `token`.
    #[must_use]
    #[cfg_attr(not(idemp_small), inline)]
    #[cfg_attr(idemp_small, inline(never))]
    pub fn new(token: LeaseToken, verb: Verb) -> Self {
        let verb = match verb {
            Verb::Forget if token.attempt > 1 => Verb::Release,
            verb => verb,
        };
        Self {
            token,
            verb,
            rev: Rev::NIL,
            lease_for: Duration::ZERO,
            rounds: 0,
        }
    }

    #[cfg_attr(not(idemp_small), inline)]
    #[cfg_attr(idemp_small, inline(never))]
    fn ask(&mut self, fresh: Rev) -> Step<Replied> {
        let Some(put) = self.put(fresh) else {
            return Step::Ask(Swap::read(self.token.slot.clone()));
        };
        self.rev = fresh;
        let expect = Expect::Rev(self.token.rev);
        Step::Ask(Swap {
            slot: self.token.slot.clone(),
            expect,
            put,
        })
    }

    /// What the verb leaves in the slot; `None` where that depends on state not read yet.
    #[cfg_attr(not(idemp_small), inline)]
    #[cfg_attr(idemp_small, inline(never))]
    fn put(&mut self, fresh: Rev) -> Option<Put> {
        let published = match &self.token.published {
            Published::Known(published) => Some(published.as_ref()),
            Published::Unread => None,
        };
        let (state, body) = match &self.verb {
            Verb::Finish(_) | Verb::FinishUnstorable if self.vacates() => return Some(Put::Remove),
            Verb::Forget => return Some(Put::Remove),
            Verb::Finish(outcome) => (State::Completed, Some(outcome)),
            Verb::FinishUnstorable => (State::Unstorable, None),
            Verb::Publish(state) => (State::InProgress, Some(state)),
            Verb::Fence => (State::Unknown, published?),
            Verb::Renew => (State::InProgress, published?),
            Verb::Release => (State::Released, published?),
        };
        let goes_on = state == State::InProgress;
        let ended = matches!(state, State::Completed | State::Unstorable);
        let policy = &self.token.policy;
        let lease_for = if goes_on {
            self.prolonged()
        } else {
            Millis::default()
        };
        // What nobody asks of an outcome is left out, so that it stays small.
        let (fence, granted_at) = match ended {
            true => (0, Timestamp::default()),
            false => (self.token.fence, self.token.granted_at),
        };
        let record = Record {
            state,
            fingerprint: self.token.fingerprint,
            owner: self.token.owner,
            attempt: self.token.attempt,
            fence,
            granted_at,
            lease: lease_for,
            tombstone: if ended {
                policy.tombstone
            } else {
                Millis::default()
            },
            published: !ended && body.is_some(),
            fences: policy.lapse == Lapse::Fence,
        };
        let put = NewSlot {
            rev: fresh,
            lease_for: lease_for.span(),
            keep_for: policy.keep(),
            head: record.encode(),
            body: body.cloned().unwrap_or_default(),
        };
        self.lease_for = put.lease_for;
        Some(Put::Slot(put))
    }

    fn vacates(&self) -> bool {
        self.token.policy.usage == Usage::WhileActive
    }

    /// A span that, counted from any moment of the live lease, ends before the ceiling; at least
    /// the millisecond that a lease needs, which prolongs nothing.
    fn prolonged(&self) -> Millis {
        let ceiling = self.ceiling();
        let room = ceiling.after(self.token.lease_until.max(self.token.seen_at));
        self.token.policy.lease.min(room).max(Millis::from(1))
    }

    fn ceiling(&self) -> Timestamp {
        self.token.granted_at + self.token.policy.ceiling
    }

    fn at_ceiling(&self) -> bool {
        self.token.seen_at.max(self.token.lease_until) >= self.ceiling()
    }

    #[cfg_attr(not(idemp_small), inline)]
    #[cfg_attr(idemp_small, inline(never))]
    fn won(&mut self, now: Timestamp) -> LeaseReply {
        match &self.verb {
            Verb::Publish(state) => self.token.published = Published::Known(Some(state.clone())),
            Verb::Renew => {}
            _ => return LeaseReply::Ended,
        }
        self.token.rev = self.rev;
        self.token.seen_at = now;
        self.token.lease_until = self.token.lease_until.max(now + self.lease_for);
        LeaseReply::Held(self.token.clone())
    }

    #[cfg_attr(not(idemp_small), inline)]
    #[cfg_attr(idemp_small, inline(never))]
    fn lost(&mut self, slot: Option<Slot>, now: Timestamp, fresh: Rev) -> Step<Replied> {
        let stale = |winner| Step::Done(Ok(LeaseReply::Stale(Stale { winner })));
        let Some(slot) = slot else {
            // Vacant is what these asked for; an earlier ask may have done it.
            let removes = matches!(self.verb, Verb::Forget)
                || self.vacates() && matches!(self.verb, Verb::Finish(_) | Verb::FinishUnstorable);
            return if removes {
                Step::Done(Ok(LeaseReply::Ended))
            } else {
                stale(None)
            };
        };
        let record = match Record::decode(&slot.head) {
            Ok(record) => record,
            Err(error) => return Step::Done(Err(error)),
        };
        let mine = record.owner == self.token.owner && record.attempt == self.token.attempt;
        let outcome = matches!(self.verb, Verb::Finish(_) | Verb::FinishUnstorable);
        let open = match (record.state, &self.verb) {
            (State::InProgress, _) => true,
            // Nobody took over since: the outcome is known after all.
            (State::Released, Verb::Fence) | (State::Unstorable, Verb::Finish(_)) => true,
            (State::Released | State::Unknown, _) => outcome,
            _ => false,
        };
        if mine && open {
            return self.again(slot, &record, now, fresh);
        }
        // An earlier ask did it, and its answer was lost. Another outcome is not acknowledged: the
        // first one stands.
        let ended = match (record.state, &self.verb) {
            (State::Completed, Verb::Finish(outcome)) => *outcome == slot.body,
            (State::Completed | State::Unstorable, Verb::FinishUnstorable) => true,
            (State::Released, Verb::Release | Verb::Forget) => true,
            (State::Unknown, Verb::Fence) => true,
            _ => false,
        };
        if mine && ended {
            return Step::Done(Ok(LeaseReply::Ended));
        }
        if record.state == State::Completed
            && record.fingerprint == self.token.fingerprint
            && !record.is_expired(&slot, now)
        {
            return stale(Some(record.replay(slot, now)));
        }
        stale(None)
    }

    /// Asks once more, now that the state of the owner's own slot is known.
    fn again(&mut self, slot: Slot, record: &Record, now: Timestamp, fresh: Rev) -> Step<Replied> {
        let (key, policy) = (self.token.slot.clone(), self.token.policy);
        self.token = LeaseToken::found(slot, record, key, policy, now);
        self.rounds += 1;
        if self.rounds >= MAX_ROUNDS {
            return Step::Done(Err(SlotError::Contended));
        }
        if matches!(self.verb, Verb::Renew) && self.at_ceiling() {
            return Step::Done(Ok(LeaseReply::Ceiling));
        }
        self.ask(fresh)
    }
}

impl Machine for LeaseCall {
    type Done = Replied;

    #[cfg_attr(not(idemp_small), inline)]
    #[cfg_attr(idemp_small, inline(never))]
    fn start(&mut self, fresh: Rev) -> Step<Replied> {
        self.rounds = 0;
        if matches!(self.verb, Verb::Renew) && self.at_ceiling() {
            return Step::Done(Ok(LeaseReply::Ceiling));
        }
        self.ask(fresh)
    }

    #[cfg_attr(not(idemp_small), inline)]
    #[cfg_attr(idemp_small, inline(never))]
    fn on_reply(&mut self, reply: Swapped, fresh: Rev) -> Step<Replied> {
        match reply.verdict {
            Verdict::Won => Step::Done(Ok(self.won(reply.now))),
            Verdict::Lost(slot) => self.lost(slot, reply.now, fresh),
        }
    }
}
