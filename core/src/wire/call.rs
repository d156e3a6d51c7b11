//! A machine as bytes: what was called, and how far it is.

use super::Refused;
use super::codec::{Reader, Writer};
use crate::begin::Begin;
use crate::decision::{Decision, Replay};
use crate::error::SlotError;
use crate::finish::{LeaseCall, LeaseReply, Verb};
use crate::machine::{Machine, Step};
use crate::peek::{Peek, Peeked, Progress};
use crate::resolve::{Resolution, Resolve, Resolved};
use crate::slot::{Rev, Swapped};
#[cfg(not(idemp_small))]
use crate::{body::Body, token::Published};

/// One of the machines.
pub(super) enum Call {
    Begin(Begin),
    Lease(LeaseCall),
    Resolve(Resolve),
    Peek(Peek),
}

impl Call {
    /// Reads a call, or one that has started, as [`Call::write`] wrote it.
    #[cfg_attr(idemp_small, inline(never))]
    pub(super) fn read(from: &mut Reader<'_>, started: bool) -> Self {
        let mut call = Self::read_call(from);
        if started {
            call.read_progress(from);
        }
        call
    }

    fn read_call(from: &mut Reader<'_>) -> Self {
        match from.byte() {
            1 => {
                let slot = from.slot_key();
                let (fingerprint, policy) = (from.fingerprint(), from.policy());
                Self::Begin(Begin::new(slot, fingerprint, policy, from.owner()))
            }
            2 => {
                let token = from.token();
                Self::Lease(LeaseCall::new(token, verb(from)))
            }
            3 => {
                let slot = from.slot_key();
                let resolution = match from.optional_body() {
                    None => Resolution::Vacant,
                    Some(outcome) => Resolution::Completed(outcome),
                };
                let policy = from.policy();
                Self::Resolve(Resolve::new(slot, resolution, policy, from.owner()))
            }
            kind => {
                if kind != 4 {
                    from.refuse(Refused::MALFORMED);
                }
                let slot = from.slot_key();
                Self::Peek(Peek::new(slot, from.policy()))
            }
        }
    }

    fn read_progress(&mut self, from: &mut Reader<'_>) {
        match self {
            Self::Begin(begin) => {
                begin.attempt = from.attempt();
                begin.fence = from.number();
                begin.published = from.optional_body();
                begin.lapse = from.lapse();
                begin.rev = from.rev();
                begin.rounds = from.byte();
            }
            Self::Lease(lease) => {
                lease.rev = from.rev();
                lease.lease_for = from.span();
                lease.rounds = from.byte();
            }
            Self::Resolve(resolve) => resolve.rounds = from.byte(),
            Self::Peek(_) => {}
        }
    }

    /// Puts bodies in the place of their marks.
    #[cfg(not(idemp_small))]
    pub(super) fn embody(
        &mut self,
        body: impl Fn(u8) -> Result<Body, Refused>,
    ) -> Result<(), Refused> {
        let in_place = |marked: &mut Body| match marked.first() {
            None => Ok(()),
            Some(mark) => body(*mark).map(|body| *marked = body),
        };
        match self {
            Self::Lease(lease) => {
                if let Published::Known(Some(published)) = &mut lease.token.published {
                    in_place(published)?;
                }
                match &mut lease.verb {
                    Verb::Finish(body) | Verb::Publish(body) => in_place(body),
                    _ => Ok(()),
                }
            }
            Self::Resolve(resolve) => match &mut resolve.resolution {
                Resolution::Completed(outcome) => in_place(outcome),
                Resolution::Vacant => Ok(()),
            },
            Self::Begin(_) | Self::Peek(_) => Ok(()),
        }
    }

    #[cfg_attr(idemp_small, inline(never))]
    fn write(&self, out: &mut Writer) {
        match self {
            Self::Begin(begin) => {
                out.byte(1);
                out.framed(begin.slot.as_bytes());
                out.fingerprint(&begin.fingerprint);
                out.policy(&begin.policy);
                out.bytes(begin.owner.as_bytes());
                out.attempt(begin.attempt);
                out.number(begin.fence);
                out.optional_body(begin.published.as_ref());
                out.lapse(begin.lapse);
                out.bytes(begin.rev.as_bytes());
                out.byte(begin.rounds);
            }
            Self::Lease(lease) => {
                out.byte(2);
                out.token(&lease.token);
                write_verb(&lease.verb, out);
                out.bytes(lease.rev.as_bytes());
                out.span(lease.lease_for);
                out.byte(lease.rounds);
            }
            Self::Resolve(resolve) => {
                out.byte(3);
                out.framed(resolve.slot.as_bytes());
                out.optional_body(match &resolve.resolution {
                    Resolution::Vacant => None,
                    Resolution::Completed(outcome) => Some(outcome),
                });
                out.policy(&resolve.policy);
                out.bytes(resolve.id.as_bytes());
                out.byte(resolve.rounds);
            }
            Self::Peek(peek) => {
                out.byte(4);
                out.framed(peek.slot.as_bytes());
                out.policy(&peek.policy);
            }
        }
    }

    /// The next step, as bytes; without a reply the first one.
    pub(super) fn step(
        mut self,
        reply: Option<Swapped>,
        fresh: Rev,
        out: &mut Writer,
    ) -> Result<(), Refused> {
        let asks = match &mut self {
            Self::Begin(begin) => next(begin, reply, fresh, out)?,
            Self::Lease(lease) => next(lease, reply, fresh, out)?,
            Self::Resolve(resolve) => next(resolve, reply, fresh, out)?,
            Self::Peek(peek) => next(peek, reply, fresh, out)?,
        };
        if asks {
            self.write(out);
        }
        Ok(())
    }
}

/// Writes the question, and says so; or writes the answer. An error of the slot is the host's to throw.
#[cfg_attr(idemp_small, inline(never))]
fn next<T: Told>(
    machine: &mut impl Machine<Done = Result<T, SlotError>>,
    reply: Option<Swapped>,
    fresh: Rev,
    out: &mut Writer,
) -> Result<bool, Refused> {
    let step = match reply {
        None => machine.start(fresh),
        Some(reply) => machine.on_reply(reply, fresh),
    };
    // By reference: what is moved is code to download.
    match &step {
        Step::Ask(swap) => {
            out.byte(0);
            out.swap(swap);
            Ok(true)
        }
        Step::Done(Ok(told)) => {
            out.byte(1);
            told.tell(out);
            Ok(false)
        }
        Step::Done(Err(error)) => Err((*error).into()),
    }
}

#[cfg_attr(idemp_small, inline(never))]
fn verb(from: &mut Reader<'_>) -> Verb {
    match from.byte() {
        1 => Verb::Finish(from.body()),
        2 => Verb::FinishUnstorable,
        3 => Verb::Fence,
        4 => Verb::Renew,
        5 => Verb::Publish(from.body()),
        6 => Verb::Release,
        7 => Verb::Forget,
        _ => {
            from.refuse(Refused::MALFORMED);
            Verb::Renew
        }
    }
}

#[cfg_attr(idemp_small, inline(never))]
fn write_verb(verb: &Verb, out: &mut Writer) {
    let (number, body) = match verb {
        Verb::Finish(outcome) => (1, Some(outcome)),
        Verb::FinishUnstorable => (2, None),
        Verb::Fence => (3, None),
        Verb::Renew => (4, None),
        Verb::Publish(state) => (5, Some(state)),
        Verb::Release => (6, None),
        Verb::Forget => (7, None),
    };
    out.byte(number);
    if let Some(body) = body {
        out.body(body);
    }
}

/// What a machine says in the end.
pub(super) trait Told {
    fn tell(&self, out: &mut Writer);
}

impl Told for Decision {
    #[cfg_attr(idemp_small, inline(never))]
    fn tell(&self, out: &mut Writer) {
        match self {
            Self::Miss(token) => {
                out.byte(1);
                out.token(token);
            }
            Self::Hit(replay) => {
                out.byte(2);
                replay.tell(out);
            }
            Self::Conflict => out.byte(3),
            Self::InProgress(other) => {
                out.byte(4);
                out.span(other.remaining);
                out.optional_body(other.published.as_ref());
            }
            Self::Unknown => out.byte(5),
            Self::Expired => out.byte(6),
        }
    }
}

impl Told for Replay {
    #[cfg_attr(idemp_small, inline(never))]
    fn tell(&self, out: &mut Writer) {
        out.span(self.remaining);
        out.body(&self.outcome);
    }
}

impl Told for LeaseReply {
    #[cfg_attr(idemp_small, inline(never))]
    fn tell(&self, out: &mut Writer) {
        match self {
            Self::Held(token) => {
                out.byte(1);
                out.token(token);
            }
            Self::Ended => out.byte(2),
            Self::Ceiling => out.byte(3),
            Self::Stale(stale) => {
                out.byte(4);
                out.byte(stale.winner.is_some().into());
                if let Some(winner) = &stale.winner {
                    winner.tell(out);
                }
            }
        }
    }
}

impl Told for Resolved {
    #[cfg_attr(idemp_small, inline(never))]
    fn tell(&self, out: &mut Writer) {
        out.byte(match self {
            Self::Done => 1,
            Self::Vacant => 2,
            Self::NotUnknown => 3,
        });
    }
}

impl Told for Option<Peeked> {
    #[cfg_attr(idemp_small, inline(never))]
    fn tell(&self, out: &mut Writer) {
        let Some(seen) = self else {
            return out.byte(0);
        };
        out.byte(match seen.state {
            Progress::InProgress => 1,
            Progress::Completed => 2,
            Progress::Unstorable => 3,
            Progress::Released => 4,
            Progress::Unknown => 5,
            Progress::Expired => 6,
        });
        out.byte(seen.live.into());
        out.optional_body(seen.body.as_ref());
        out.token(&seen.token);
    }
}
