//! [`Resolve`]: what an operator or the application does about a key whose outcome is unknown,
//! without a lease.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::begin::MAX_ROUNDS;
use crate::body::Body;
use crate::error::SlotError;
use crate::head::{Record, State};
use crate::key::SlotKey;
use crate::machine::{Machine, Step};
use crate::policy::{Policy, Usage};
use crate::slot::{Expect, NewSlot, Owner, Put, Rev, Slot, Swap, Swapped, Verdict};
use crate::time::{Millis, Timestamp};

/// How an operator or the application settles an unknown outcome.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Resolution {
    /// It was done, and this is the outcome.
    Completed(Body),
    /// It was not done: the key is free again, for any payload.
    Vacant,
}

/// What came of a [`Resolve`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Resolved {
    /// It is settled.
    Done,
    /// There is nothing in the slot.
    Vacant,
    /// The outcome is not unknown: a lease is live, an outcome is stored, or the key waits for a
    /// retry. Nothing was changed.
    NotUnknown,
}

/// Settles a slot whose outcome is unknown, or whose lease lapsed. A [`Machine`].
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Resolve {
    pub(crate) slot: SlotKey,
    pub(crate) resolution: Resolution,
    pub(crate) policy: Policy,
    /// Recognises its own write where the answer was lost.
    pub(crate) id: Owner,
    pub(crate) rounds: u8,
}

impl Resolve {
    /// Settles `slot`; `id` has to be 128 fresh random bits.
    #[must_use]
    #[cfg_attr(not(idemp_small), inline)]
    #[cfg_attr(idemp_small, inline(never))]
    pub fn new(slot: SlotKey, resolution: Resolution, policy: Policy, id: Owner) -> Self {
        Self {
            slot,
            resolution,
            policy,
            id,
            rounds: 0,
        }
    }

    fn vacates(&self) -> bool {
        self.resolution == Resolution::Vacant || self.policy.usage == Usage::WhileActive
    }

    fn settle(&mut self, slot: &Slot, record: Record, fresh: Rev) -> Step<Settled> {
        self.rounds += 1;
        if self.rounds >= MAX_ROUNDS {
            return Step::Done(Err(SlotError::Contended));
        }
        let put = match &self.resolution {
            Resolution::Completed(outcome) if !self.vacates() => Put::Slot(NewSlot {
                rev: fresh,
                lease_for: Duration::ZERO,
                keep_for: self.policy.keep(),
                head: Record {
                    state: State::Completed,
                    owner: self.id,
                    fence: 0,
                    granted_at: Timestamp::default(),
                    lease: Millis::default(),
                    tombstone: self.policy.tombstone,
                    published: false,
                    ..record
                }
                .encode(),
                body: outcome.clone(),
            }),
            _ => Put::Remove,
        };
        Step::Ask(Swap {
            slot: self.slot.clone(),
            expect: Expect::Rev(slot.rev),
            put,
        })
    }
}

type Settled = Result<Resolved, SlotError>;

impl Machine for Resolve {
    type Done = Settled;

    #[cfg_attr(not(idemp_small), inline)]
    #[cfg_attr(idemp_small, inline(never))]
    fn start(&mut self, _fresh: Rev) -> Step<Settled> {
        Step::Ask(Swap::read(self.slot.clone()))
    }

    #[cfg_attr(not(idemp_small), inline)]
    #[cfg_attr(idemp_small, inline(never))]
    fn on_reply(&mut self, reply: Swapped, fresh: Rev) -> Step<Settled> {
        let slot = match reply.verdict {
            Verdict::Won => return Step::Done(Ok(Resolved::Done)),
            // After an ask, vacant is its own doing or what it wanted anyway.
            Verdict::Lost(None) if self.rounds > 0 && self.vacates() => {
                return Step::Done(Ok(Resolved::Done));
            }
            Verdict::Lost(None) => return Step::Done(Ok(Resolved::Vacant)),
            Verdict::Lost(Some(slot)) => slot,
        };
        let record = match Record::decode(&slot.head) {
            Ok(record) => record,
            Err(error) => return Step::Done(Err(error)),
        };
        match record.state {
            State::Unknown | State::Unstorable => self.settle(&slot, record, fresh),
            State::InProgress if reply.now >= slot.lease_until => self.settle(&slot, record, fresh),
            State::Completed if record.owner == self.id => Step::Done(Ok(Resolved::Done)),
            _ => Step::Done(Ok(Resolved::NotUnknown)),
        }
    }
}
