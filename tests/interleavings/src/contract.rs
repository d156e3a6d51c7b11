//! [`Contract`]: what `docs/protocol.md` promises of one key, as a plain program.
//!
//! It is written from the page and not from the machine: it has no revisions, no heads and no
//! questions. It is told what came into effect, when, and what each client was answered; it says
//! [`Breach`] as soon as a promise is broken.

use std::fmt;

use idemp::{Decision, Lapse, LeaseReply, LeaseToken, Policy, Resolved, Slot, Timestamp, Usage};

/// A payload, an owner, a body: the contract only tells them apart.
pub type Payload = u8;
/// See [`Payload`].
pub type OwnerId = u16;
/// See [`Payload`].
pub type Note = u16;

/// A promise and how it was broken.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Breach {
    /// The promise's name in the protocol.
    pub promise: &'static str,
    /// What happened.
    pub what: String,
}

impl fmt::Display for Breach {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.promise, self.what)
    }
}

/// Whether the contract stands.
pub type Stands = Result<(), Breach>;

fn breach<T>(promise: &'static str, what: impl Into<String>) -> Result<T, Breach> {
    let what = what.into();
    Err(Breach { promise, what })
}

fn ensure(holds: bool, promise: &'static str, what: impl FnOnce() -> String) -> Stands {
    if holds {
        Ok(())
    } else {
        breach(promise, what())
    }
}

/// The numbers of a policy, in milliseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Terms {
    active: bool,
    fence: bool,
    lease: u64,
    ceiling: u64,
    retention: u64,
    tombstone: u64,
}

impl Terms {
    /// Whether a lapse makes the outcome unknown.
    pub fn fences(&self) -> bool {
        self.fence
    }
}

impl From<&Policy> for Terms {
    fn from(policy: &Policy) -> Self {
        let millis = |span: std::time::Duration| span.as_millis() as u64;
        Self {
            active: policy.usage() == Usage::WhileActive,
            fence: policy.lapse() == Lapse::Fence,
            lease: millis(policy.lease()),
            ceiling: millis(policy.ceiling()),
            retention: millis(policy.retention()),
            tombstone: millis(policy.tombstone()),
        }
    }
}

/// What somebody wants.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Deed {
    /// To begin.
    Begin {
        /// The request.
        payload: Payload,
        /// Who asks.
        owner: OwnerId,
        /// Under which policy.
        terms: Terms,
    },
    /// To use a lease.
    Act {
        /// The request that the lease was granted for.
        payload: Payload,
        /// Whose lease.
        owner: OwnerId,
        /// Which of its leases.
        attempt: u32,
        /// Under which policy.
        terms: Terms,
        /// What for.
        act: Act,
    },
    /// To settle what is unknown: with an outcome, or as not done.
    Resolve {
        /// The outcome; `None` for not done.
        outcome: Option<Note>,
        /// Under which policy.
        terms: Terms,
    },
}

/// An owner's verb.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Act {
    /// Finish with an outcome.
    Finish(Note),
    /// Finish without a storable one.
    FinishUnstorable,
    /// Leave it unknown.
    Fence,
    /// Prolong.
    Renew,
    /// Tell the others.
    Publish(Note),
    /// Give back.
    Release,
    /// Give back with the binding.
    Forget,
}

/// What lies in the slot, as the contract sees it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
struct Kept {
    payload: Payload,
    state: State,
    owner: OwnerId,
    attempt: u32,
    fences: bool,
    /// The outcome of this attempt's `begin` has arrived.
    executed: bool,
    granted_at: u64,
    lease_until: u64,
    gone_at: u64,
    tombstone: u64,
    published: Option<Note>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum State {
    Busy,
    Released,
    Unknown,
    Completed(Note),
    Unstorable,
}

/// One key's promises, and what they were given.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub struct Contract {
    kept: Option<Kept>,
    executions: u32,
    lapses: u32,
    releases: u32,
    /// The highest fence granted, and when an owner last vacated the slot.
    fence: u64,
    ended_at: u64,
    /// The store's clock was set back: nothing is promised across generations about fences.
    clock_went_back: bool,
}

impl Contract {
    fn there(&self, now: u64) -> Option<&Kept> {
        self.kept.as_ref().filter(|kept| now < kept.gone_at)
    }

    /// The payload that the key is bound to.
    pub fn bound_to(&self, now: u64) -> Option<Payload> {
        self.there(now).map(|kept| kept.payload)
    }

    /// Who holds a live lease.
    pub fn live_owner(&self, now: u64) -> Option<OwnerId> {
        let busy = self.there(now).filter(|kept| kept.state == State::Busy)?;
        (now < busy.lease_until).then_some(busy.owner)
    }

    /// How often a lapsed lease was taken over, since the key was vacant.
    pub fn lapses(&self) -> u32 {
        self.lapses
    }

    /// Whether the lease has lapsed and nobody took over.
    pub fn is_lapsed(&self, now: u64) -> bool {
        let busy = self.there(now).filter(|kept| kept.state == State::Busy);
        busy.is_some_and(|kept| kept.lease_until <= now)
    }

    /// Whether an owner or an operator vacated the slot in this very millisecond.
    pub fn was_vacated_at(&self, now: u64) -> bool {
        self.kept.is_none() && self.ended_at == now
    }

    /// The store's clock was set back.
    pub fn clock_went_back(&mut self) {
        self.clock_went_back = true;
    }

    /// The store forgot what is gone.
    pub fn purged(&mut self, now: u64) -> Stands {
        ensure(self.there(now).is_none(), "S7", || {
            "a slot was purged before its time".into()
        })?;
        self.kept = None;
        Ok(())
    }

    /// The deed came into effect: may it? `read_at` is the time of the answer that it rests on,
    /// `slot` what lies in the store now.
    pub fn took_effect(
        &mut self,
        deed: &Deed,
        now: u64,
        read_at: u64,
        slot: Option<&Slot>,
    ) -> Stands {
        match *deed {
            Deed::Begin {
                payload,
                owner,
                terms,
            } => self.granted(payload, owner, terms, now, now.max(read_at)),
            Deed::Act {
                owner,
                attempt,
                terms,
                act,
                ..
            } => self.acted(owner, attempt, terms, act, now, slot),
            Deed::Resolve { outcome, terms } => self.resolved(outcome, terms, now, read_at),
        }
    }

    fn granted(
        &mut self,
        payload: Payload,
        owner: OwnerId,
        terms: Terms,
        now: u64,
        read_at: u64,
    ) -> Stands {
        let mut next = Kept {
            payload,
            state: State::Busy,
            owner,
            attempt: 1,
            fences: terms.fence,
            executed: false,
            granted_at: now,
            lease_until: now + terms.lease,
            gone_at: now + terms.retention + terms.tombstone,
            tombstone: 0,
            published: None,
        };
        if let Some(kept) = self.there(now).copied() {
            ensure(kept.payload == payload, "S5", || {
                format!(
                    "payload {payload} got the key that payload {} holds",
                    kept.payload
                )
            })?;
            match kept.state {
                State::Completed(_) => return breach("S3", "a completed key was executed again"),
                State::Unknown | State::Unstorable => {
                    return breach("S10", "a key of unknown outcome was executed again");
                }
                State::Busy if read_at < kept.lease_until => {
                    let what = "a second lease was granted while the first is live";
                    return breach("S1", what);
                }
                State::Busy if kept.fences || terms.fence => {
                    return breach("S10", "a lapse that fences was taken over");
                }
                State::Busy => self.lapses += 1,
                State::Released => {}
            }
            next.attempt = kept.attempt + 1;
            next.fences |= kept.fences;
            next.lease_until = next.lease_until.max(kept.lease_until);
            next.granted_at = next.lease_until - terms.lease;
            next.gone_at = next.gone_at.max(kept.gone_at);
            next.published = kept.published;
        } else {
            (self.executions, self.lapses, self.releases) = (0, 0, 0);
            if self.ended_at >= now || self.clock_went_back {
                // An owner ended its work in this very millisecond, or time is not what it was.
                self.fence = 0;
            }
        }
        self.kept = Some(next);
        Ok(())
    }

    fn acted(
        &mut self,
        owner: OwnerId,
        attempt: u32,
        terms: Terms,
        act: Act,
        now: u64,
        slot: Option<&Slot>,
    ) -> Stands {
        let Some(mut kept) = self.there(now).copied() else {
            return breach("S2", format!("{act:?} made a record that was gone anew"));
        };
        ensure((kept.owner, kept.attempt) == (owner, attempt), "S2", || {
            format!("a superseded owner's {act:?} changed the slot")
        })?;
        // To do again what was done harms nobody.
        let again = match (kept.state, act) {
            (State::Completed(note), Act::Finish(other)) => note == other,
            (State::Released, Act::Release | Act::Forget) => true,
            _ => false,
        };
        if again {
            kept.gone_at = kept.gone_at.max(now + terms.retention + terms.tombstone);
            self.kept = Some(kept);
            return Ok(());
        }
        let allowed = match kept.state {
            State::Busy => true,
            State::Released => {
                matches!(act, Act::Finish(_) | Act::FinishUnstorable | Act::Fence)
            }
            State::Unknown => matches!(act, Act::Finish(_) | Act::FinishUnstorable),
            State::Unstorable => matches!(act, Act::Finish(_)),
            State::Completed(_) => false,
        };
        ensure(allowed, "S3", || {
            format!("{act:?} changed a slot that is {:?}", kept.state)
        })?;
        let vacates = match act {
            Act::Finish(_) | Act::FinishUnstorable => terms.active,
            Act::Forget => attempt == 1,
            _ => false,
        };
        if vacates {
            self.ended_at = now;
            self.kept = None;
            return Ok(());
        }
        kept.gone_at = kept.gone_at.max(now + terms.retention + terms.tombstone);
        match act {
            Act::Finish(note) => kept.state = State::Completed(note),
            Act::FinishUnstorable => kept.state = State::Unstorable,
            Act::Fence => kept.state = State::Unknown,
            Act::Release | Act::Forget => {
                self.releases += 1;
                kept.state = State::Released;
            }
            Act::Renew | Act::Publish(_) => {
                // Up to the ceiling; what comes after the lapse may overrun it by a lease.
                let live = now < kept.lease_until;
                let ceiling = kept.granted_at + terms.ceiling;
                let limit = (now + terms.lease).min(if live { ceiling } else { u64::MAX });
                let until = slot.map_or(0, |slot| slot.lease_until.as_millis());
                ensure(until >= kept.lease_until, "S9", || {
                    format!("a renewal moved the lease back to {until}")
                })?;
                ensure(until <= limit.max(kept.lease_until), "ceiling", || {
                    format!("a lease was prolonged to {until}, the limit is {limit}")
                })?;
                kept.lease_until = until;
                if let Act::Publish(note) = act {
                    kept.published = Some(note);
                }
                self.kept = Some(kept);
                return Ok(());
            }
        }
        kept.lease_until = now;
        if matches!(act, Act::Finish(_) | Act::FinishUnstorable) {
            kept.tombstone = terms.tombstone;
            kept.published = None;
        }
        self.kept = Some(kept);
        Ok(())
    }

    fn resolved(&mut self, outcome: Option<Note>, terms: Terms, now: u64, read_at: u64) -> Stands {
        let Some(mut kept) = self.there(now).copied() else {
            return breach("S2", "a resolution made a record that was gone anew");
        };
        let open = match kept.state {
            State::Unknown | State::Unstorable => true,
            State::Busy => now.max(read_at) >= kept.lease_until,
            State::Completed(_) | State::Released => false,
        };
        ensure(open, "S8", || {
            format!("a resolution changed a slot that is {:?}", kept.state)
        })?;
        self.kept = match outcome {
            Some(note) if !terms.active => {
                kept.state = State::Completed(note);
                kept.lease_until = now;
                kept.gone_at = kept.gone_at.max(now + terms.retention + terms.tombstone);
                kept.tombstone = terms.tombstone;
                kept.published = None;
                // Nobody's: the owner that comes now is late.
                kept.owner = OwnerId::MAX;
                Some(kept)
            }
            _ => {
                self.ended_at = now;
                None
            }
        };
        Ok(())
    }

    /// `begin` was answered: is it the answer of the table? `won` where the answer is to a
    /// question that came into effect.
    pub fn answered_begin(
        &mut self,
        deed: &Deed,
        now: u64,
        won: bool,
        answer: &Decision,
    ) -> Stands {
        let &Deed::Begin {
            payload,
            owner,
            terms,
        } = deed
        else {
            return breach("test", "this is no begin");
        };
        let same = |what: &str, holds: bool, promise: &'static str| {
            ensure(holds, promise, || {
                format!("{what} was due, the answer was {answer:?}")
            })
        };
        let Some(kept) = self.there(now).copied() else {
            return same("a miss", false, "L2");
        };
        if kept.payload != payload {
            return same("a conflict", *answer == Decision::Conflict, "S6");
        }
        let expired = now >= kept.gone_at.saturating_sub(kept.tombstone);
        match kept.state {
            State::Completed(_) | State::Unstorable if expired => {
                same("expired", *answer == Decision::Expired, "table")
            }
            State::Completed(note) => {
                let hit = matches!(answer, Decision::Hit(replay)
                    if replay.bytes() == note.to_be_bytes()
                    && replay.remaining().as_millis() as u64 == kept.gone_at - kept.tombstone - now);
                same("the stored outcome", hit, "S4")
            }
            State::Unknown | State::Unstorable => {
                same("unknown", *answer == Decision::Unknown, "S10")
            }
            State::Busy if kept.owner == owner && (won || now < kept.lease_until) => {
                let Decision::Miss(token) = answer else {
                    return same("the owner's lease", false, "S8");
                };
                self.executes(kept, token)
            }
            State::Busy if now < kept.lease_until => {
                let told = matches!(answer, Decision::InProgress(other)
                    if note(other.published().map(|body| &body[..])) == kept.published
                    && other.remaining().as_millis() as u64 == kept.lease_until - now);
                same("in progress", told, "S1")
            }
            State::Busy if kept.fences || terms.fence => {
                same("unknown", *answer == Decision::Unknown, "S10")
            }
            State::Busy | State::Released => same("the next attempt", false, "L1"),
        }
    }

    /// A MISS arrived with this lease.
    fn executes(&mut self, kept: Kept, token: &LeaseToken) -> Stands {
        ensure(token.attempt() == kept.attempt, "S10", || {
            format!(
                "attempt {} was told it is {}",
                kept.attempt,
                token.attempt()
            )
        })?;
        ensure(
            note(token.published().map(|body| &body[..])) == kept.published,
            "S4",
            || "the next attempt did not get what was published".into(),
        )?;
        ensure(
            token.lease_until() <= Timestamp::from_millis(kept.lease_until),
            "S8",
            || "the owner was promised more than the store keeps".into(),
        )?;
        if kept.executed {
            return Ok(());
        }
        ensure(token.fence() > self.fence, "fence", || {
            format!("{} does not follow on {}", token.fence(), self.fence)
        })?;
        self.fence = token.fence();
        self.executions += 1;
        let bound = 1 + self.lapses + self.releases;
        ensure(self.executions <= bound, "S10", || {
            format!("{} executions, {bound} are accounted for", self.executions)
        })?;
        self.kept = Some(Kept {
            executed: true,
            ..kept
        });
        Ok(())
    }

    /// A verb was answered: is it the answer that is due?
    pub fn answered_act(&self, deed: &Deed, now: u64, won: bool, reply: &LeaseReply) -> Stands {
        let &Deed::Act {
            payload,
            owner,
            attempt,
            terms,
            act,
        } = deed
        else {
            return breach("test", "this is no verb");
        };
        let same = |what: &str, holds: bool, promise: &'static str| {
            ensure(holds, promise, || {
                format!("{act:?}: {what} was due, the answer was {reply:?}")
            })
        };
        let outcome = matches!(act, Act::Finish(_) | Act::FinishUnstorable);
        let ended = *reply == LeaseReply::Ended;
        if won {
            let goes_on = matches!(act, Act::Renew | Act::Publish(_));
            return match reply {
                LeaseReply::Held(token) => {
                    same("ended", goes_on, "S11")?;
                    let until = self.kept.map_or(0, |kept| kept.lease_until);
                    same(
                        "no more than the store keeps",
                        token.lease_until() <= Timestamp::from_millis(until),
                        "S8",
                    )
                }
                _ => same("success", ended && !goes_on, "S11"),
            };
        }
        let Some(kept) = self.there(now) else {
            let removes = act == Act::Forget && attempt == 1 || outcome && terms.active;
            let stale = matches!(reply, LeaseReply::Stale(stale) if stale.winner.is_none());
            return if removes {
                same("ended", ended, "S11")
            } else {
                same("stale", stale, "S2")
            };
        };
        let mine = (kept.owner, kept.attempt) == (owner, attempt);
        match (kept.state, act) {
            (State::Busy, Act::Renew) if mine => {
                return same("the ceiling", *reply == LeaseReply::Ceiling, "S11");
            }
            (State::Completed(note), Act::Finish(mine_is)) if mine && note == mine_is => {
                return same("ended", ended, "S11");
            }
            (State::Completed(_) | State::Unstorable, Act::FinishUnstorable) if mine => {
                return same("ended", ended, "S11");
            }
            (State::Released, Act::Release | Act::Forget) | (State::Unknown, Act::Fence)
                if mine =>
            {
                return same("ended", ended, "S11");
            }
            (State::Busy, _) if mine => return same("success", false, "S11"),
            _ => {}
        }
        let winner = match kept.state {
            State::Completed(note)
                if kept.payload == payload && now < kept.gone_at - kept.tombstone =>
            {
                Some(note)
            }
            _ => None,
        };
        let told = matches!(reply, LeaseReply::Stale(stale)
            if note(stale.winner.as_ref().map(|replay| replay.bytes())) == winner);
        same("stale, with the winner's outcome,", told, "S2")
    }

    /// A resolution was answered.
    pub fn answered_resolve(&self, now: u64, won: bool, resolved: Resolved) -> Stands {
        let due = match self.there(now) {
            _ if won => resolved == Resolved::Done,
            None => resolved != Resolved::NotUnknown,
            Some(kept) => match kept.state {
                State::Completed(_) => resolved != Resolved::Vacant,
                State::Busy => resolved == Resolved::NotUnknown && now < kept.lease_until,
                State::Released => resolved == Resolved::NotUnknown,
                State::Unknown | State::Unstorable => false,
            },
        };
        ensure(due, "S11", || {
            format!("a resolution was answered {resolved:?}")
        })
    }

    /// The store keeps exactly what it has to: nothing shorter, nothing longer.
    pub fn is_kept_by(&self, slot: Option<&Slot>, now: u64) -> Stands {
        let there = slot.filter(|slot| Timestamp::from_millis(now) < slot.gone_at);
        let kept = self.there(now).map(|kept| (kept.lease_until, kept.gone_at));
        let found = there.map(|slot| (slot.lease_until.as_millis(), slot.gone_at.as_millis()));
        ensure(kept == found, "S9", || {
            format!("lease and retention end at {kept:?}, the store says {found:?}")
        })
    }
}

fn note(bytes: Option<&[u8]>) -> Option<Note> {
    let bytes = bytes?.try_into().ok()?;
    Some(Note::from_be_bytes(bytes))
}
