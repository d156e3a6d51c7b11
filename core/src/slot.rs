//! [`Slot`], [`Swap`] and [`apply`]: everything a store has to know, and the laws it obeys.
//!
//! A store does one thing: it compares something small, then puts, and hands back what defeated
//! it. [`apply`] is the definition. A store that can lock a slot calls it; one that speaks SQL or
//! Lua is tested against it.
//!
//! # The laws of `swap`
//! 1. It is atomic for every other client.
//! 2. [`Won`](Verdict::Won) if and only if the comparison held. Then the whole slot is replaced,
//!    durably, before the call returns.
//! 3. [`Lost`](Verdict::Lost) changes nothing and returns the slot that defeated it, never one
//!    that is already gone.
//! 4. Nothing is purged before `gone_at`, and no bound on size evicts anything earlier: a full
//!    store fails loudly.
//! 5. `head` and `body` come back byte for byte.
//! 6. An error means that the outcome is unknown: the write may have happened. The caller asks
//!    again with a fresh revision and recognises its own owner token.
//! 7. Keys never alias.
//! 8. One trip to the store a call.
//!
//! Boundaries are half-open: a slot is there while `now < gone_at`, a lease is live while
//! `now < lease_until`. Deadlines never move back while a slot is replaced, even if the store's
//! clock does.

use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::body::Body;
use crate::hex::{from_hex, hex};
use crate::key::SlotKey;
use crate::time::{Timestamp, as_millis};

/// What lies in a slot. A store interprets `rev`, `lease_until` and `gone_at`, nothing else.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Slot {
    /// Names this state of the slot.
    pub rev: Rev,
    /// The lease is live while `now < lease_until`.
    pub lease_until: Timestamp,
    /// The slot is there while `now < gone_at`.
    pub gone_at: Timestamp,
    /// Core's record: small, versioned, opaque to stores.
    pub head: Head,
    /// The outcome or the interim state. Core never reads it.
    pub body: Body,
}

/// One question to a store: if the slot is as expected, replace it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Swap {
    /// Which slot.
    pub slot: SlotKey,
    /// What has to lie there.
    pub expect: Expect,
    /// What shall lie there.
    pub put: Put,
}

/// What has to lie in the slot for a [`Swap`] to win.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Expect {
    /// Nothing, or something that is gone.
    Vacant,
    /// A slot of this revision that is not gone. [`Rev::NIL`] matches none: that asks only to
    /// read.
    Rev(Rev),
}

/// What a [`Swap`] leaves in the slot.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Put {
    /// A new state of the slot.
    Slot(NewSlot),
    /// Nothing.
    Remove,
}

/// A slot to be put: durations instead of deadlines, since the store's clock decides.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NewSlot {
    /// The new revision.
    pub rev: Rev,
    /// How long the lease shall live from now; zero ends it at once.
    #[serde(with = "as_millis", rename = "lease_for_ms")]
    pub lease_for: Duration,
    /// How long the slot shall be kept from now.
    #[serde(with = "as_millis", rename = "keep_for_ms")]
    pub keep_for: Duration,
    /// See [`Slot::head`].
    pub head: Head,
    /// See [`Slot::body`].
    pub body: Body,
}

/// What a store answers to a [`Swap`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Swapped {
    /// The store's clock at the swap.
    pub now: Timestamp,
    /// Whether the swap won.
    pub verdict: Verdict,
}

/// Whether a swap won; where it lost, what defeated it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// The comparison held and the slot is replaced.
    Won,
    /// The comparison failed and nothing changed.
    Lost(Option<Slot>),
}

/// The definition of `swap`: what every store does, atomically.
pub fn apply(slot: &mut Option<Slot>, swap: &Swap, now: Timestamp) -> Swapped {
    let there = slot
        .as_ref()
        .map(|slot| (slot.rev, slot.lease_until, slot.gone_at));
    let spans = match &swap.put {
        Put::Slot(new) => Some((new.lease_for, new.keep_for)),
        Put::Remove => None,
    };
    let (lease_until, gone_at) = match compare(there, swap.expect, spans, now) {
        Ok(deadlines) => deadlines,
        Err(defeat) => {
            let there = slot.as_ref().filter(|_| defeat == Defeat::ByWhatLies);
            return Swapped {
                now,
                verdict: Verdict::Lost(there.cloned()),
            };
        }
    };
    *slot = match &swap.put {
        Put::Slot(NewSlot {
            rev, head, body, ..
        }) => Some(Slot {
            rev: *rev,
            lease_until,
            gone_at,
            head: *head,
            body: body.clone(),
        }),
        Put::Remove => None,
    };
    Swapped {
        now,
        verdict: Verdict::Won,
    }
}

/// What lies in a slot and decides: its revision, and until when it is leased and kept.
pub(crate) type Lies = (Rev, Timestamp, Timestamp);

/// Why a comparison failed.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Defeat {
    ByNothing,
    ByWhatLies,
}

/// What [`apply`] decides: the deadlines of what is put for two spans, or nothing's for none.
pub(crate) fn compare(
    lies: Option<Lies>,
    expect: Expect,
    spans: Option<(Duration, Duration)>,
    now: Timestamp,
) -> Result<(Timestamp, Timestamp), Defeat> {
    let there = lies.filter(|(_, _, gone_at)| now < *gone_at);
    let held = match (expect, there) {
        (Expect::Vacant, there) => there.is_none(),
        (Expect::Rev(rev), there) => there.is_some_and(|(lies, ..)| lies == rev && rev != Rev::NIL),
    };
    match (held, spans) {
        (true, None) => Ok(Default::default()),
        (true, Some(spans)) => Ok(deadlines(spans, there.map(|lies| (lies.1, lies.2)), now)),
        (false, _) if there.is_none() => Err(Defeat::ByNothing),
        (false, _) => Err(Defeat::ByWhatLies),
    }
}

fn deadlines(
    (lease_for, keep_for): (Duration, Duration),
    replaced: Option<(Timestamp, Timestamp)>,
    now: Timestamp,
) -> (Timestamp, Timestamp) {
    let (lease_until, gone_at) = replaced.unwrap_or_default();
    let lease_until = if lease_for.is_zero() {
        now
    } else {
        lease_until.max(now + lease_for)
    };
    (lease_until, gone_at.max(now + keep_for))
}

impl NewSlot {
    /// `lease_until` and `gone_at` of this slot where it replaces one with the given deadlines:
    /// never earlier than those, save that a lease of zero is over now.
    #[must_use]
    pub fn deadlines(
        &self,
        replaced: Option<(Timestamp, Timestamp)>,
        now: Timestamp,
    ) -> (Timestamp, Timestamp) {
        deadlines((self.lease_for, self.keep_for), replaced, now)
    }
}

impl Swap {
    /// A question that changes nothing: it loses, and so returns the slot.
    #[must_use]
    pub fn read(slot: SlotKey) -> Self {
        Self {
            slot,
            expect: Expect::Rev(Rev::NIL),
            put: Put::Remove,
        }
    }
}

/// Names one state of a slot: 128 random bits, fresh for every ask.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Rev([u8; 16]);

/// Names the owner of a lease: 128 random bits.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Owner([u8; 16]);

impl Rev {
    /// Matches no slot.
    pub const NIL: Self = Self([0; 16]);
}

macro_rules! token {
    ($name:ident) => {
        impl $name {
            /// From 16 random bytes.
            #[must_use]
            pub const fn from_bytes(bytes: [u8; 16]) -> Self {
                Self(bytes)
            }

            /// The 16 bytes.
            #[must_use]
            pub const fn as_bytes(&self) -> &[u8; 16] {
                &self.0
            }
        }

        /// The first two bytes: enough to tell two apart in a test's output, too little to use.
        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!(stringify!($name), "({}...)"), hex(&self.0[..2]))
            }
        }

        impl Serialize for $name {
            fn serialize<S: serde::Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
                to.serialize_str(&hex(&self.0))
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: serde::Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
                from_hex(from)?
                    .try_into()
                    .map(Self)
                    .map_err(|_| serde::de::Error::custom("expected 32 hex digits"))
            }
        }
    };
}
token!(Rev);
token!(Owner);

/// Core's record of a slot, at most [`Head::MAX_BYTES`] bytes, held in place.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Head {
    length: u8,
    bytes: [u8; Self::MAX_BYTES],
}

impl Head {
    /// The most bytes. Every version of the record fits.
    pub const MAX_BYTES: usize = 111;

    /// Takes the bytes that a store kept; `None` where there are too many.
    #[must_use]
    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let mut head = Self {
            length: u8::try_from(bytes.len()).ok()?,
            bytes: [0; Self::MAX_BYTES],
        };
        head.bytes.get_mut(..bytes.len())?.copy_from_slice(bytes);
        Some(head)
    }

    /// The bytes.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes[..usize::from(self.length)]
    }

    /// Appends; the largest record, 101 bytes, fits.
    pub(crate) fn push(&mut self, bytes: &[u8]) {
        let end = usize::from(self.length) + bytes.len();
        self.bytes[usize::from(self.length)..end].copy_from_slice(bytes);
        self.length = end as u8;
    }
}

impl Default for Head {
    fn default() -> Self {
        Self {
            length: 0,
            bytes: [0; Self::MAX_BYTES],
        }
    }
}

impl fmt::Debug for Head {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Head({} bytes)", self.length)
    }
}

impl Serialize for Head {
    fn serialize<S: serde::Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_str(&hex(self.as_bytes()))
    }
}

impl<'de> Deserialize<'de> for Head {
    fn deserialize<D: serde::Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        Self::from_bytes(&from_hex(from)?)
            .ok_or_else(|| serde::de::Error::custom("a head is at most 111 bytes"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Key, Scope};

    const MS: fn(u64) -> Duration = Duration::from_millis;
    const AT: fn(u64) -> Timestamp = Timestamp::from_millis;
    const A: Rev = Rev([1; 16]);
    const B: Rev = Rev([2; 16]);

    fn new(rev: Rev, lease: u64, keep: u64) -> Put {
        let head = Head::from_bytes(b"head").unwrap();
        let body = b"body"[..].into();
        Put::Slot(NewSlot {
            rev,
            lease_for: MS(lease),
            keep_for: MS(keep),
            head,
            body,
        })
    }

    fn swap(expect: Expect, put: Put) -> Swap {
        let slot = SlotKey::new(&Scope::new(["s"]).unwrap(), &Key::new("k").unwrap());
        Swap { slot, expect, put }
    }

    fn filled() -> Option<Slot> {
        let mut slot = None;
        apply(&mut slot, &swap(Expect::Vacant, new(A, 10, 100)), AT(1000));
        slot
    }

    #[test]
    fn a_vacant_slot_is_filled_with_deadlines_of_the_stores_clock() {
        let slot = filled().unwrap();
        assert_eq!((slot.lease_until, slot.gone_at), (AT(1010), AT(1100)));
        assert_eq!(
            (slot.head.as_bytes(), &*slot.body),
            (&b"head"[..], &b"body"[..])
        );
    }

    #[test]
    fn a_lost_swap_changes_nothing_and_returns_what_defeated_it() {
        for expect in [Expect::Vacant, Expect::Rev(B), Expect::Rev(Rev::NIL)] {
            for put in [new(B, 1, 1), Put::Remove] {
                let mut slot = filled();
                let reply = apply(&mut slot, &swap(expect, put), AT(1099));
                assert_eq!(reply.verdict, Verdict::Lost(filled()));
                assert_eq!(slot, filled());
            }
        }
    }

    #[test]
    fn a_slot_is_there_until_the_instant_it_is_gone_and_not_at_it() {
        let mut slot = filled();
        let vacant = swap(Expect::Vacant, new(B, 1, 1));
        assert_ne!(apply(&mut slot, &vacant, AT(1099)).verdict, Verdict::Won);
        assert_eq!(apply(&mut slot, &vacant, AT(1100)).verdict, Verdict::Won);
    }

    #[test]
    fn a_slot_that_is_gone_is_never_created_anew_by_its_revision() {
        let mut slot = filled();
        let reply = apply(&mut slot, &swap(Expect::Rev(A), new(B, 1, 1)), AT(1100));
        assert_eq!(reply.verdict, Verdict::Lost(None));
        assert_eq!(slot, filled());
    }

    #[test]
    fn the_nil_revision_matches_nothing_not_even_itself() {
        let mut slot = filled().map(|slot| Slot {
            rev: Rev::NIL,
            ..slot
        });
        let reply = apply(
            &mut slot,
            &swap(Expect::Rev(Rev::NIL), Put::Remove),
            AT(1000),
        );
        assert_eq!(reply.verdict, Verdict::Lost(slot));
    }

    #[test]
    fn remove_empties_the_slot() {
        let mut slot = filled();
        let reply = apply(&mut slot, &swap(Expect::Rev(A), Put::Remove), AT(1000));
        assert_eq!((reply.verdict, slot), (Verdict::Won, None));
    }

    #[test]
    fn deadlines_never_move_back_even_if_the_clock_does() {
        let mut slot = filled();
        apply(&mut slot, &swap(Expect::Rev(A), new(B, 10, 100)), AT(500));
        let slot = slot.unwrap();
        assert_eq!((slot.lease_until, slot.gone_at), (AT(1010), AT(1100)));
    }

    #[test]
    fn a_lease_of_zero_is_over_now() {
        let mut slot = filled();
        apply(&mut slot, &swap(Expect::Rev(A), new(B, 0, 100)), AT(1003));
        assert_eq!(slot.unwrap().lease_until, AT(1003));
    }

    #[test]
    fn neither_debug_nor_errors_show_content() {
        let text = format!("{:?}", filled().unwrap());
        assert!(
            !text.contains("body\"") && text.contains("Body(4 bytes)"),
            "{text}"
        );
    }

    #[test]
    fn a_slot_survives_json() {
        let json = serde_json::to_string(&filled()).unwrap();
        assert_eq!(
            serde_json::from_str::<Option<Slot>>(&json).unwrap(),
            filled()
        );
        for text in ["\"é0\"", "\"0\"", "\"0g\""] {
            assert!(serde_json::from_str::<Body>(text).is_err());
        }
    }
}
