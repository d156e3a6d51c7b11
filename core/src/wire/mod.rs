//! What crosses to other languages: stateless functions, bytes in and bytes out.
//!
//! A binding hands [`call`] over and adds nothing. There are no handles to free: a machine that waits
//! for a store's reply is bytes that the host keeps. No input makes it panic; what is malformed is
//! [`Refused`].
//!
//! Bodies do not cross. Where one belongs stands a *mark*: one byte that the host chose, or 0 for an
//! empty body; it comes back where the body would. In a verb the host marks the body that it has in
//! hand, in a reply the body that lies in the slot, in a token what was published. Two bodies have
//! the same mark if and only if they are the same bytes, as far as the host knows both: a `finish`
//! is repeated if the body in the slot is the one in hand.
//!
//! # Layout
//! Numbers are big-endian; a span or a time is 8 bytes in milliseconds; `framed` bytes stand behind
//! their length in 2 bytes; a flag is 0 or 1.
//!
//! ```text
//! function  = 1 name of a slot -> nothing, if it is one
//!           | 2 flag:while-active flag:fences retention {0 | 1 span}:lease,ceiling,tombstone -> policy
//!           | 3 fresh call -> step
//!           | 4 fresh reply machine -> step
//!           | 5 now (0 | 1 rev lease-until gone-at) (0 vacant | 1 rev) (0 remove | 1 lease-for keep-for)
//!                 -> 0 won, removed | 1 lease-until gone-at won, put | 2 lost to nothing
//!                  | 3 lost to what lies there
//!           | 6 JSON body -> fingerprint | 7 other body -> fingerprint
//!           | 8 JSON body -> what 6 hashes, for a host that has a faster SHA-256
//!           | 9 JSON text -> canonical form, numbers exact
//!           | 16 and more: see `http`, for servers
//! call      = 1 slot fingerprint policy owner                 begin
//!           | 2 token verb                                    an owner's verb
//!           | 3 slot (0 vacant | 1 mark) policy owner         resolve
//!           | 4 slot policy                                   peek
//! fresh     = 16 random bytes, never used before
//! slot      = framed name
//! policy    = flag:while-active flag:fences retention lease ceiling tombstone
//! token     = slot fingerprint policy owner rev attempt:4 fence:8 granted until seen
//!             (0 unread | 1 nothing published | 2 mark)
//! verb      = 1 mark finish | 2 finish, unstorable | 3 fence | 4 renew | 5 mark publish
//!           | 6 release | 7 forget
//! reply     = now (0 won | 1 lost to nothing | 2 lost-to)
//! lost-to   = rev lease-until gone-at framed:head mark
//! step      = 0 swap machine | 1 done
//! swap      = (0 vacant | 1 rev) (0 remove | 1 rev lease-for keep-for framed:head mark)
//! done      = of begin: 1 token | 2 remaining mark | 3 conflict | 4 remaining (0 | 1 mark)
//!                     | 5 unknown | 6 expired
//!             of a verb: 1 token | 2 ended | 3 ceiling | 4 (0 | 1 remaining mark) stale
//!             of resolve: 1 done | 2 vacant | 3 not unknown
//!             of peek: 0 nothing | (1 in progress | 2 completed | 3 unstorable | 4 released
//!                     | 5 unknown | 6 expired) flag:live (0 | 1 mark) token
//! ```
//!
//! `machine` goes to the end of the step; it is opaque, and goes back with the reply.
//!
//! # With a native store
//! Where the store is native, too, [`Driven`] takes a call and gives what was done, in one crossing.

mod call;
mod codec;
#[cfg(not(idemp_small))]
mod driven;
#[cfg(not(idemp_small))]
mod http;

use call::Call;
use codec::{Reader, Writer};
#[cfg(not(idemp_small))]
pub use driven::{Answer, Driven, read_swap, swapped};
#[cfg(not(idemp_small))]
use sha2::{Digest, Sha256};

use crate::canonical::{self, CanonicalError, CanonicalErrorKind};
use crate::error::SlotError;
use crate::fingerprint::Fingerprint;
use crate::key::{KeyError, SlotKey};
use crate::policy::{Policy, PolicyError, Usage};
#[cfg(idemp_small)]
use crate::sha256::sha256;
use crate::slot::{self, Defeat};

/// Answers any question: the number of a function, and what that takes. 1 and the answer comes
/// back; or 0, the code of what is wrong in one byte, and a detail in eight: see [`Refused`].
#[must_use]
pub fn call(function: u8, question: &[u8]) -> Vec<u8> {
    let mut out = Writer::new();
    if let Err(refused) = answer(function, question, &mut out) {
        out = Writer::new();
        out.refused(refused);
    }
    out.into_bytes()
}

fn answer(function: u8, question: &[u8], out: &mut Writer) -> Result<(), Refused> {
    out.byte(1);
    match function {
        1 => name(question),
        2 => policy(question, out),
        3 => step(question, false, out),
        4 => step(question, true, out),
        5 => apply(question, out),
        6 | 7 => {
            fingerprint(question, function == 6, out);
            Ok(())
        }
        8 => {
            Fingerprint::preimage_of_json(question, out.buffer());
            Ok(())
        }
        // Only with exact numbers: floats would double what a page downloads.
        9 => Ok(canonical::append(question, &[], out.buffer())?),
        #[cfg(not(idemp_small))]
        16.. => http::call(function, question, out),
        _ => Err(Refused::MALFORMED),
    }
}

/// Why a question was not answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Refused {
    /// What is wrong: the numbers are in the source of each `From`.
    pub code: u8,
    /// The record's version, which duration of a policy, or an offset in bytes.
    pub detail: u64,
}

impl Refused {
    const fn code(code: u8) -> Self {
        Self { code, detail: 0 }
    }

    /// Bytes that are not what this function takes.
    pub const MALFORMED: Self = Self::code(255);
}

impl From<KeyError> for Refused {
    fn from(error: KeyError) -> Self {
        Self::code(match error {
            KeyError::Empty => 1,
            KeyError::TooLong { .. } => 2,
            KeyError::Control => 3,
            KeyError::TooManyParts => 4,
            KeyError::Format => 5,
        })
    }
}

impl From<PolicyError> for Refused {
    fn from(error: PolicyError) -> Self {
        let of = |code, name: &str| Self {
            code,
            detail: name.as_bytes()[0].into(), // r, l, c or t
        };
        match error {
            PolicyError::TooShort { name } => of(16, name),
            PolicyError::TooLong { name } => of(17, name),
            PolicyError::LeaseBeyondRetention => Self::code(18),
            PolicyError::NothingLeftToFence => Self::code(19),
            PolicyError::CeilingBelowLease => Self::code(20),
            PolicyError::TombstoneWhileActive => Self::code(21),
            PolicyError::Hours => Self::code(22),
        }
    }
}

impl From<SlotError> for Refused {
    fn from(error: SlotError) -> Self {
        match error {
            SlotError::Corrupt => Self::code(32),
            SlotError::Newer { version } => Self {
                code: 33,
                detail: version.into(),
            },
            SlotError::Contended => Self::code(34),
        }
    }
}

impl From<CanonicalError> for Refused {
    fn from(error: CanonicalError) -> Self {
        let code = match error.kind() {
            CanonicalErrorKind::Syntax => 64,
            CanonicalErrorKind::Eof => 65,
            CanonicalErrorKind::Trailing => 66,
            CanonicalErrorKind::Duplicate => 67,
            CanonicalErrorKind::LoneSurrogate => 68,
            CanonicalErrorKind::Utf8 => 69,
            CanonicalErrorKind::Depth => 70,
            CanonicalErrorKind::NumberRange => 71,
            CanonicalErrorKind::InexactInteger => 72,
            CanonicalErrorKind::TooLong => 73,
        };
        Self {
            code,
            detail: error.offset() as u64,
        }
    }
}

/// Checks the name of a slot: see [`SlotKey::from_bytes`]. Nothing out.
#[cfg_attr(idemp_small, inline(never))]
fn name(name: &[u8]) -> Result<(), Refused> {
    SlotKey::from_bytes(name)?;
    Ok(())
}

#[cfg_attr(idemp_small, inline(never))]
fn policy(options: &[u8], out: &mut Writer) -> Result<(), Refused> {
    let mut from = Reader::new(options);
    let (usage, lapse, retention) = (from.usage(), from.lapse(), from.span());
    let mut builder = match usage {
        Usage::Replay => Policy::replay(retention),
        Usage::WhileActive => Policy::while_active(retention),
    }
    .on_lapse(lapse);
    // Without pointers to functions: for these a page would get a table, and all that std keeps in it.
    for setting in 0..3 {
        if from.flag() {
            let span = from.span();
            builder = match setting {
                0 => builder.lease(span),
                1 => builder.ceiling(span),
                _ => builder.tombstone(span),
            };
        }
    }
    from.end()?;
    out.policy(&builder.build()?);
    Ok(())
}

/// The first step of a call, or the next one of a machine that has started.
#[cfg_attr(idemp_small, inline(never))]
fn step(question: &[u8], started: bool, out: &mut Writer) -> Result<(), Refused> {
    let mut from = Reader::new(question);
    let fresh = from.rev();
    let reply = started.then(|| from.reply());
    let call = Call::read(&mut from, started);
    from.end()?;
    call.step(reply, fresh, out)
}

#[cfg_attr(idemp_small, inline(never))]
fn apply(question: &[u8], out: &mut Writer) -> Result<(), Refused> {
    let mut from = Reader::new(question);
    let now = from.time();
    let there = from.flag();
    let there = there.then(|| (from.rev(), from.time(), from.time()));
    let expect = from.expect();
    let put = from.flag();
    let put = put.then(|| (from.span(), from.span()));
    from.end()?;
    match slot::compare(there, expect, put, now) {
        Err(Defeat::ByNothing) => out.byte(2),
        Err(Defeat::ByWhatLies) => out.byte(3),
        Ok(_) if put.is_none() => out.byte(0),
        Ok((lease_until, gone_at)) => {
            out.byte(1);
            out.time(lease_until);
            out.time(gone_at);
        }
    }
    Ok(())
}

#[cfg_attr(idemp_small, inline(never))]
fn fingerprint(body: &[u8], json: bool, out: &mut Writer) {
    let mut preimage = Vec::new();
    if json {
        Fingerprint::preimage_of_json(body, &mut preimage);
    } else {
        Fingerprint::preimage_of_bytes(body, &mut preimage);
    }
    out.byte(Fingerprint::VERSION);
    #[cfg(not(idemp_small))]
    out.bytes(&Sha256::digest(preimage));
    #[cfg(idemp_small)]
    for word in sha256(preimage) {
        out.bytes(&word.to_be_bytes());
    }
}
