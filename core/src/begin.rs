//! [`Begin`]: the decision.
//!
//! In this order: an absent slot is a MISS; another fingerprint is a CONFLICT, whatever else is
//! the case; then the state decides. See `docs/protocol.md` for the table.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::body::Body;
use crate::decision::{Decision, InProgress, Replay};
use crate::error::SlotError;
use crate::fingerprint::Fingerprint;
use crate::head::{Record, State, first_fence};
use crate::key::SlotKey;
use crate::machine::{Machine, Step};
use crate::policy::{Lapse, Policy};
use crate::slot::{Expect, NewSlot, Owner, Put, Rev, Slot, Swap, Swapped, Verdict};
use crate::time::{Millis, Timestamp};
use crate::token::{LeaseToken, Published};

/// After so many lost swaps somebody else is certainly at work on the key.
pub(crate) const MAX_ROUNDS: u8 = 16;

/// The question whether a request is to be executed. A [`Machine`].
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Begin {
    pub(crate) slot: SlotKey,
    pub(crate) fingerprint: Fingerprint,
    pub(crate) policy: Policy,
    pub(crate) owner: Owner,
    /// What the ask that is under way would grant.
    pub(crate) attempt: u32,
    #[serde(with = "crate::token::as_text")]
    pub(crate) fence: u64,
    pub(crate) published: Option<Body>,
    pub(crate) lapse: Lapse,
    pub(crate) rev: Rev,
    pub(crate) rounds: u8,
}

impl Begin {
    /// Asks for `slot`, for a request with this fingerprint.
    ///
    /// `owner` has to be 128 fresh random bits, and the same ones where a `begin` is repeated
    /// because its answer was lost: then the repetition finds the same lease.
    #[must_use]
    #[cfg_attr(not(idemp_small), inline)]
    #[cfg_attr(idemp_small, inline(never))]
    pub fn new(slot: SlotKey, fingerprint: Fingerprint, policy: Policy, owner: Owner) -> Self {
        let (attempt, fence, published, rev, rounds) = (1, 0, None, Rev::NIL, 0);
        let lapse = policy.lapse;
        Self {
            slot,
            fingerprint,
            policy,
            owner,
            attempt,
            fence,
            published,
            lapse,
            rev,
            rounds,
        }
    }

    /// The slot that it is about.
    pub(crate) fn slot(&self) -> &SlotKey {
        &self.slot
    }

    #[cfg_attr(not(idemp_small), inline)]
    #[cfg_attr(idemp_small, inline(never))]
    fn ask(&mut self, expect: Expect, fresh: Rev) -> Step<Begun> {
        self.rev = fresh;
        let record = Record {
            state: State::InProgress,
            fingerprint: self.fingerprint,
            owner: self.owner,
            attempt: self.attempt,
            fence: self.fence,
            granted_at: Timestamp::default(),
            lease: self.policy.lease,
            tombstone: Millis::default(),
            published: self.published.is_some(),
            fences: self.lapse == Lapse::Fence,
        };
        let put = Put::Slot(NewSlot {
            rev: fresh,
            lease_for: self.policy.lease(),
            keep_for: self.policy.keep(),
            head: record.encode(),
            body: self.published.clone().unwrap_or_default(),
        });
        Step::Ask(Swap {
            slot: self.slot.clone(),
            expect,
            put,
        })
    }

    #[cfg_attr(not(idemp_small), inline)]
    #[cfg_attr(idemp_small, inline(never))]
    fn ask_vacant(&mut self, fresh: Rev) -> Step<Begun> {
        (self.attempt, self.fence, self.published) = (1, 0, None);
        self.lapse = self.policy.lapse;
        self.ask(Expect::Vacant, fresh)
    }

    #[cfg_attr(not(idemp_small), inline)]
    #[cfg_attr(idemp_small, inline(never))]
    fn decide(&mut self, slot: Slot, now: Timestamp, fresh: Rev) -> Step<Begun> {
        let record = match Record::decode(&slot.head) {
            Ok(record) => record,
            Err(error) => return Step::Done(Err(error)),
        };
        if record.fingerprint != self.fingerprint {
            return Step::Done(Ok(Decision::Conflict));
        }
        let live = now < slot.lease_until;
        // Once a record fences it holds for every later attempt, too, whoever makes it.
        let lapse = match self.policy.lapse {
            _ if record.fences => Lapse::Fence,
            lapse => lapse,
        };
        let policy = self.policy.with_lapse(lapse);
        Step::Done(Ok(match record.state {
            State::Completed | State::Unstorable if record.is_expired(&slot, now) => {
                Decision::Expired
            }
            State::Completed => Decision::Hit(record.replay(slot, now)),
            State::Unstorable | State::Unknown => Decision::Unknown,
            State::InProgress if live && record.owner == self.owner => Decision::Miss(
                LeaseToken::found(slot, &record, self.slot.clone(), policy, now),
            ),
            State::InProgress if live => Decision::InProgress(InProgress {
                remaining: slot.lease_until.since(now),
                published: record.published.then_some(slot.body),
            }),
            State::InProgress if lapse == Lapse::Fence => Decision::Unknown,
            State::InProgress | State::Released => {
                self.lapse = lapse;
                return self.take_over(slot, &record, now, fresh);
            }
        }))
    }

    #[cfg_attr(not(idemp_small), inline)]
    #[cfg_attr(idemp_small, inline(never))]
    fn take_over(
        &mut self,
        slot: Slot,
        record: &Record,
        now: Timestamp,
        fresh: Rev,
    ) -> Step<Begun> {
        let rev = slot.rev;
        self.attempt = record.attempt.saturating_add(1);
        self.fence = first_fence(now).max(record.fence(&slot).saturating_add(1));
        self.published = record.published.then_some(slot.body);
        self.ask(Expect::Rev(rev), fresh)
    }

    #[cfg_attr(not(idemp_small), inline)]
    #[cfg_attr(idemp_small, inline(never))]
    fn won(&mut self, now: Timestamp) -> Begun {
        Ok(Decision::Miss(LeaseToken {
            slot: self.slot.clone(),
            fingerprint: self.fingerprint,
            policy: self.policy.with_lapse(self.lapse),
            owner: self.owner,
            rev: self.rev,
            attempt: self.attempt,
            fence: if self.fence == 0 {
                first_fence(now)
            } else {
                self.fence
            },
            granted_at: now,
            lease_until: now + self.policy.lease,
            seen_at: now,
            published: Published::Known(self.published.take()),
        }))
    }
}

type Begun = Result<Decision, SlotError>;

impl Machine for Begin {
    type Done = Begun;

    #[cfg_attr(not(idemp_small), inline)]
    #[cfg_attr(idemp_small, inline(never))]
    fn start(&mut self, fresh: Rev) -> Step<Begun> {
        self.rounds = 0;
        self.ask_vacant(fresh)
    }

    #[cfg_attr(not(idemp_small), inline)]
    #[cfg_attr(idemp_small, inline(never))]
    fn on_reply(&mut self, reply: Swapped, fresh: Rev) -> Step<Begun> {
        self.rounds += 1;
        let now = reply.now;
        let step = match reply.verdict {
            Verdict::Won => Step::Done(self.won(now)),
            Verdict::Lost(Some(slot)) => self.decide(slot, now, fresh),
            Verdict::Lost(None) => self.ask_vacant(fresh),
        };
        match step {
            Step::Ask(_) if self.rounds >= MAX_ROUNDS => {
                let other = InProgress {
                    published: None,
                    remaining: Duration::ZERO,
                };
                Step::Done(Ok(Decision::InProgress(other)))
            }
            step => step,
        }
    }
}

impl Record {
    /// Whether a completed record is a tombstone by now.
    pub(crate) fn is_expired(&self, slot: &Slot, now: Timestamp) -> bool {
        now >= slot.gone_at.back(self.tombstone)
    }

    /// The outcome that a completed record holds.
    pub(crate) fn replay(&self, slot: Slot, now: Timestamp) -> Replay {
        let remaining = slot.gone_at.back(self.tombstone).since(now);
        Replay {
            outcome: slot.body,
            remaining,
        }
    }
}
