//! Bytes to values and back: fixed widths, big-endian, variable parts behind a 16-bit length.
//!
//! Written for size, since a page downloads it: nothing small is inlined, and a reader that has met
//! an error reads on in zeros, so that it is asked once, at the end.

use std::time::Duration;

use super::Refused;
#[cfg(not(idemp_small))]
use super::driven::{Answer, Bodies};
use crate::body::Body;
use crate::error::SlotError;
use crate::fingerprint::Fingerprint;
use crate::key::SlotKey;
use crate::policy::{Lapse, Policy, Unchecked, Usage};
#[cfg(not(idemp_small))]
use crate::slot::NewSlot;
use crate::slot::{Expect, Head, Owner, Put, Rev, Slot, Swap, Swapped, Verdict};
use crate::time::{Millis, Timestamp, millis};
use crate::token::{LeaseToken, Published};

/// Reads what a host sent.
pub(super) struct Reader<'a> {
    rest: &'a [u8],
    refused: Option<Refused>,
}

impl<'a> Reader<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Self {
        Self {
            rest: bytes,
            refused: None,
        }
    }

    /// The first thing that was wrong, or that something is left.
    #[cfg_attr(idemp_small, inline(never))]
    pub(super) fn end(self) -> Result<(), Refused> {
        match self.refused {
            Some(refused) => Err(refused),
            None if self.rest.is_empty() => Ok(()),
            None => Err(Refused::MALFORMED),
        }
    }

    #[cold]
    #[cfg_attr(idemp_small, inline(never))]
    pub(super) fn refuse(&mut self, why: Refused) {
        self.refused.get_or_insert(why);
        self.rest = &[];
    }

    #[cfg_attr(idemp_small, inline(never))]
    pub(super) fn bytes(&mut self, length: usize) -> &'a [u8] {
        match self.rest.split_at_checked(length) {
            Some((taken, rest)) => {
                self.rest = rest;
                taken
            }
            None => {
                self.refuse(Refused::MALFORMED);
                &[]
            }
        }
    }

    #[cfg_attr(idemp_small, inline(never))]
    pub(super) fn byte(&mut self) -> u8 {
        self.bytes(1).first().copied().unwrap_or(0)
    }

    /// A number below `end`.
    #[cfg_attr(idemp_small, inline(never))]
    pub(super) fn below(&mut self, end: u8) -> u8 {
        let byte = self.byte();
        if byte < end {
            byte
        } else {
            self.refuse(Refused::MALFORMED);
            0
        }
    }

    pub(super) fn flag(&mut self) -> bool {
        self.below(2) == 1
    }

    #[cfg_attr(idemp_small, inline(never))]
    fn big_endian(&mut self, length: usize) -> u64 {
        let bytes = self.bytes(length).iter();
        bytes.fold(0, |number, byte| number << 8 | u64::from(*byte))
    }

    pub(super) fn number(&mut self) -> u64 {
        self.big_endian(8)
    }

    #[cfg_attr(idemp_small, inline(never))]
    pub(super) fn span(&mut self) -> Duration {
        Duration::from_millis(self.number())
    }

    fn millis(&mut self) -> Millis {
        Millis::from(self.number())
    }

    pub(super) fn time(&mut self) -> Timestamp {
        Timestamp::from_millis(self.number())
    }

    pub(super) fn attempt(&mut self) -> u32 {
        self.big_endian(4) as u32
    }

    /// How many of something follow, or a status.
    #[cfg(not(idemp_small))]
    pub(super) fn count(&mut self) -> u16 {
        self.big_endian(2) as u16
    }

    /// Behind its length in four bytes.
    #[cfg(not(idemp_small))]
    pub(super) fn text(&mut self) -> &'a [u8] {
        let length = self.big_endian(4) as usize;
        self.bytes(length)
    }

    /// All that is left.
    #[cfg(not(idemp_small))]
    pub(super) fn rest(self) -> Result<&'a [u8], Refused> {
        match self.refused {
            Some(refused) => Err(refused),
            None => Ok(self.rest),
        }
    }

    pub(super) fn framed(&mut self) -> &'a [u8] {
        let length = self.big_endian(2) as usize;
        self.bytes(length)
    }

    /// The mark that stands for a body.
    #[cfg_attr(idemp_small, inline(never))]
    pub(super) fn body(&mut self) -> Body {
        match self.byte() {
            0 => Body::default(),
            mark => [mark].as_slice().into(),
        }
    }

    #[cfg_attr(idemp_small, inline(never))]
    pub(super) fn optional_body(&mut self) -> Option<Body> {
        self.flag().then(|| self.body())
    }

    #[cfg_attr(idemp_small, inline(never))]
    fn random(&mut self) -> [u8; 16] {
        self.bytes(16).try_into().unwrap_or_default()
    }

    pub(super) fn rev(&mut self) -> Rev {
        Rev::from_bytes(self.random())
    }

    pub(super) fn owner(&mut self) -> Owner {
        Owner::from_bytes(self.random())
    }

    #[cfg_attr(idemp_small, inline(never))]
    pub(super) fn slot_key(&mut self) -> SlotKey {
        SlotKey::from_bytes(self.framed()).unwrap_or_else(|why| {
            self.refuse(why.into());
            SlotKey::none()
        })
    }

    #[cfg_attr(idemp_small, inline(never))]
    pub(super) fn fingerprint(&mut self) -> Fingerprint {
        let version = self.byte();
        let digest = self.bytes(32).try_into().unwrap_or_default();
        Fingerprint::from_parts(version, digest)
    }

    pub(super) fn usage(&mut self) -> Usage {
        if self.flag() {
            Usage::WhileActive
        } else {
            Usage::Replay
        }
    }

    pub(super) fn lapse(&mut self) -> Lapse {
        if self.flag() {
            Lapse::Fence
        } else {
            Lapse::Takeover
        }
    }

    #[cfg_attr(idemp_small, inline(never))]
    pub(super) fn policy(&mut self) -> Policy {
        let unchecked = Unchecked {
            usage: self.usage(),
            lapse: self.lapse(),
            retention_ms: self.millis(),
            lease_ms: self.millis(),
            ceiling_ms: self.millis(),
            tombstone_ms: self.millis(),
        };
        Policy::try_from(unchecked).unwrap_or_else(|why| {
            self.refuse(why.into());
            Policy::default()
        })
    }

    #[cfg_attr(idemp_small, inline(never))]
    pub(super) fn token(&mut self) -> LeaseToken {
        LeaseToken {
            slot: self.slot_key(),
            fingerprint: self.fingerprint(),
            policy: self.policy(),
            owner: self.owner(),
            rev: self.rev(),
            attempt: self.attempt(),
            fence: self.number(),
            granted_at: self.time(),
            lease_until: self.time(),
            seen_at: self.time(),
            published: match self.below(3) {
                0 => Published::Unread,
                1 => Published::Known(None),
                _ => Published::Known(Some(self.body())),
            },
        }
    }

    #[cfg_attr(idemp_small, inline(never))]
    fn head(&mut self) -> Head {
        Head::from_bytes(self.framed()).unwrap_or_else(|| {
            // Longer than any record of this library.
            self.refuse(SlotError::Corrupt.into());
            Head::default()
        })
    }

    #[cfg_attr(idemp_small, inline(never))]
    pub(super) fn slot(&mut self) -> Slot {
        Slot {
            rev: self.rev(),
            lease_until: self.time(),
            gone_at: self.time(),
            head: self.head(),
            body: self.body(),
        }
    }

    #[cfg_attr(idemp_small, inline(never))]
    pub(super) fn reply(&mut self) -> Swapped {
        Swapped {
            now: self.time(),
            verdict: match self.below(3) {
                0 => Verdict::Won,
                1 => Verdict::Lost(None),
                _ => Verdict::Lost(Some(self.slot())),
            },
        }
    }

    #[cfg_attr(idemp_small, inline(never))]
    pub(super) fn expect(&mut self) -> Expect {
        if self.flag() {
            Expect::Rev(self.rev())
        } else {
            Expect::Vacant
        }
    }

    /// With the name of the slot.
    #[cfg(not(idemp_small))]
    pub(super) fn swap(&mut self) -> Swap {
        Swap {
            slot: self.slot_key(),
            expect: self.expect(),
            put: match self.flag() {
                false => Put::Remove,
                true => Put::Slot(NewSlot {
                    rev: self.rev(),
                    lease_for: self.span(),
                    keep_for: self.span(),
                    head: self.head(),
                    body: self.body(),
                }),
            },
        }
    }
}

/// Writes what a host gets.
pub(super) struct Writer {
    written: Vec<u8>,
    /// Where bodies are no marks yet.
    #[cfg(not(idemp_small))]
    bodies: Option<Bodies>,
}

impl Writer {
    pub(super) fn new() -> Self {
        Self {
            written: Vec::with_capacity(512),
            #[cfg(not(idemp_small))]
            bodies: None,
        }
    }

    /// For bodies that are no marks: they get them from these.
    #[cfg(not(idemp_small))]
    pub(super) fn with(bodies: Bodies) -> Self {
        Self {
            bodies: Some(bodies),
            ..Self::new()
        }
    }

    #[cfg(not(idemp_small))]
    pub(super) fn into_answer(self) -> Answer {
        Answer {
            bytes: self.written,
            body: self.bodies.and_then(Bodies::lies),
        }
    }

    /// What is written so far, to be appended to.
    pub(super) fn buffer(&mut self) -> &mut Vec<u8> {
        &mut self.written
    }

    pub(super) fn refused(&mut self, Refused { code, detail }: Refused) {
        self.bytes(&[0, code]);
        self.number(detail);
    }

    pub(super) fn into_bytes(self) -> Vec<u8> {
        self.written
    }

    #[cfg_attr(idemp_small, inline(never))]
    pub(super) fn bytes(&mut self, bytes: &[u8]) {
        self.written.extend_from_slice(bytes);
    }

    #[cfg_attr(idemp_small, inline(never))]
    pub(super) fn byte(&mut self, byte: u8) {
        self.bytes(&[byte]);
    }

    #[cfg_attr(idemp_small, inline(never))]
    pub(super) fn number(&mut self, number: u64) {
        self.bytes(&number.to_be_bytes());
    }

    #[cfg_attr(idemp_small, inline(never))]
    pub(super) fn span(&mut self, span: Duration) {
        self.number(millis(span));
    }

    pub(super) fn time(&mut self, time: Timestamp) {
        self.number(time.as_millis());
    }

    pub(super) fn attempt(&mut self, attempt: u32) {
        self.bytes(&attempt.to_be_bytes());
    }

    /// The longest that is ever framed, the name of a slot, is far below 64 KiB.
    #[cfg_attr(idemp_small, inline(never))]
    pub(super) fn framed(&mut self, bytes: &[u8]) {
        self.bytes(&(bytes.len() as u16).to_be_bytes());
        self.bytes(bytes);
    }

    /// No longer than a header can be.
    #[cfg(not(idemp_small))]
    pub(super) fn text(&mut self, text: &[u8]) {
        self.bytes(&(text.len() as u32).to_be_bytes());
        self.bytes(text);
    }

    /// A body was made of a mark, and is told as that.
    #[cfg_attr(idemp_small, inline(never))]
    pub(super) fn body(&mut self, body: &Body) {
        #[cfg(not(idemp_small))]
        if let Some(bodies) = &mut self.bodies {
            let mark = bodies.mark(body);
            return self.byte(mark);
        }
        self.byte(body.first().copied().unwrap_or(0));
    }

    #[cfg_attr(idemp_small, inline(never))]
    pub(super) fn optional_body(&mut self, body: Option<&Body>) {
        self.byte(body.is_some().into());
        if let Some(body) = body {
            self.body(body);
        }
    }

    #[cfg_attr(idemp_small, inline(never))]
    pub(super) fn fingerprint(&mut self, fingerprint: &Fingerprint) {
        self.byte(fingerprint.version());
        self.bytes(fingerprint.digest());
    }

    pub(super) fn lapse(&mut self, lapse: Lapse) {
        self.byte((lapse == Lapse::Fence).into());
    }

    #[cfg_attr(idemp_small, inline(never))]
    pub(super) fn policy(&mut self, policy: &Policy) {
        self.byte((policy.usage() == Usage::WhileActive).into());
        self.lapse(policy.lapse());
        for span in [
            policy.retention,
            policy.lease,
            policy.ceiling,
            policy.tombstone,
        ] {
            self.number(span.count());
        }
    }

    #[cfg_attr(idemp_small, inline(never))]
    pub(super) fn token(&mut self, token: &LeaseToken) {
        self.framed(token.slot.as_bytes());
        self.fingerprint(&token.fingerprint);
        self.policy(&token.policy);
        self.bytes(token.owner.as_bytes());
        self.bytes(token.rev.as_bytes());
        self.attempt(token.attempt);
        self.number(token.fence);
        self.time(token.granted_at);
        self.time(token.lease_until);
        self.time(token.seen_at);
        match &token.published {
            Published::Unread => self.byte(0),
            Published::Known(None) => self.byte(1),
            Published::Known(Some(body)) => {
                self.byte(2);
                self.body(body);
            }
        }
    }

    #[cfg(not(idemp_small))]
    pub(super) fn reply(&mut self, reply: &Swapped) {
        self.time(reply.now);
        match &reply.verdict {
            Verdict::Won => self.byte(0),
            Verdict::Lost(None) => self.byte(1),
            Verdict::Lost(Some(slot)) => {
                self.byte(2);
                self.bytes(slot.rev.as_bytes());
                self.time(slot.lease_until);
                self.time(slot.gone_at);
                self.framed(slot.head.as_bytes());
                self.body(&slot.body);
            }
        }
    }

    #[cfg_attr(idemp_small, inline(never))]
    /// Without the name of the slot, which the host knows.
    pub(super) fn swap(&mut self, swap: &Swap) {
        match &swap.expect {
            Expect::Vacant => self.byte(0),
            Expect::Rev(rev) => {
                self.byte(1);
                self.bytes(rev.as_bytes());
            }
        }
        match &swap.put {
            Put::Remove => self.byte(0),
            Put::Slot(new) => {
                self.byte(1);
                self.bytes(new.rev.as_bytes());
                self.span(new.lease_for);
                self.span(new.keep_for);
                self.framed(new.head.as_bytes());
                self.body(&new.body);
            }
        }
    }
}
