//! [`Mutant`]: the ways to get the protocol wrong that other implementations have gone.
//!
//! A mutant never touches the machine: it changes a question on its way to the store, or what the
//! store does with it. Each has to be caught, or the search that finds nothing proves nothing.

use idemp::{Expect, Put, Rev, Slot, Swap, Swapped, Timestamp, Verdict, apply};

use crate::contract::{Act, Deed};

/// What is wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Mutant {
    /// Nothing.
    None,
    /// `finish` writes whatever lies there.
    UnconditionalFinish,
    /// `finish` asks only that somebody is in progress.
    StatusOnlyFinish,
    /// `release` writes whatever lies there.
    UnconditionalRelease,
    /// `release` deletes the record, and the binding with it.
    ReleaseDeletes,
    /// The record is kept for the lease, not for the retention.
    VanishesWithItsLease,
    /// `renew` writes whatever lies there.
    UnguardedRenewal,
    /// A take-over asks that the owner is the one that was read, not the revision.
    TakeOverByOwner,
    /// An ask that is repeated reuses its revision.
    ReusedRevision,
    /// The store compares first and writes later.
    ReadThenWrite,
}

impl Mutant {
    /// Every one of them.
    pub const ALL: [Self; 9] = [
        Self::UnconditionalFinish,
        Self::StatusOnlyFinish,
        Self::UnconditionalRelease,
        Self::ReleaseDeletes,
        Self::VanishesWithItsLease,
        Self::UnguardedRenewal,
        Self::TakeOverByOwner,
        Self::ReusedRevision,
        Self::ReadThenWrite,
    ];
}

/// A question on its way.
#[derive(Debug, Clone)]
pub struct Message {
    /// Which slot.
    pub place: usize,
    /// The question.
    pub swap: Swap,
    /// What it is for.
    pub deed: Deed,
    /// The store's time of the answer that it rests on.
    pub read_at: u64,
    /// The slot that it rests on.
    pub read: Option<Slot>,
    /// The first half of a comparison that is not atomic held.
    pub compared: bool,
}

impl Mutant {
    /// The question as it leaves.
    pub fn leaves(self, swap: &mut Swap, deed: &Deed) {
        match (self, deed, &mut swap.put) {
            (
                Self::ReleaseDeletes,
                Deed::Act {
                    act: Act::Release, ..
                },
                put,
            ) => *put = Put::Remove,
            (Self::VanishesWithItsLease, _, Put::Slot(new)) if !new.lease_for.is_zero() => {
                new.keep_for = new.lease_for;
            }
            _ => {}
        }
    }

    /// The revision for an ask; `last` is that of the ask before, for the same errand.
    pub fn fresh(self, fresh: Rev, last: Option<Rev>) -> Rev {
        match (self, last) {
            (Self::ReusedRevision, Some(last)) => last,
            _ => fresh,
        }
    }

    /// The question as the store answers it; `None` where it has only compared so far.
    pub fn swap(self, slot: &mut Option<Slot>, message: &mut Message, now: u64) -> Option<Swapped> {
        let now = Timestamp::from_millis(now);
        let there = slot.as_ref().filter(|slot| now < slot.gone_at);
        let whatever_lies_there = there.map_or(Expect::Vacant, |slot| Expect::Rev(slot.rev));
        let act = match message.deed {
            Deed::Act { act, .. } => Some(act),
            _ => None,
        };
        // A question that only reads stays one.
        let reads = message.swap.expect == Expect::Rev(Rev::NIL);
        let blind = !reads
            && match self {
                Self::UnconditionalFinish => matches!(act, Some(Act::Finish(_))),
                Self::StatusOnlyFinish => {
                    matches!(act, Some(Act::Finish(_))) && there.is_some_and(in_progress)
                }
                Self::UnconditionalRelease => act == Some(Act::Release),
                Self::UnguardedRenewal => act == Some(Act::Renew) && there.is_some(),
                Self::TakeOverByOwner => {
                    matches!(message.deed, Deed::Begin { .. })
                        && message.read.is_some()
                        && there.map(owner) == message.read.as_ref().map(owner)
                }
                Self::ReadThenWrite => message.compared,
                _ => false,
            };
        let mut swap = message.swap.clone();
        if blind {
            swap.expect = whatever_lies_there;
        } else if self == Self::ReadThenWrite {
            let reply = apply(&mut slot.clone(), &swap, now);
            if reply.verdict == Verdict::Won {
                message.compared = true;
                return None;
            }
        }
        Some(apply(slot, &swap, now))
    }
}

/// The state in the encoded record: the low four bits of its second byte.
fn in_progress(slot: &Slot) -> bool {
    slot.head.as_bytes()[1] & 0x0f == 1
}

/// The owner in the encoded record.
fn owner(slot: &Slot) -> &[u8] {
    &slot.head.as_bytes()[35..51]
}
