//! [`Record`]: what core remembers of a slot, and its encoding as a [`Head`].
//!
//! A head is, in this order: the version of the record (1 byte), its state (1 byte: the low four
//! bits the state, `0x10` published, `0x20` a lapse fences), the fingerprint (1 byte version, 32
//! bytes), the owner (16 bytes), and five numbers in LEB128: attempt, fence, grant, lease,
//! tombstone. Nothing may follow.

use crate::error::SlotError;
use crate::fingerprint::Fingerprint;
use crate::slot::{Head, Owner, Slot};
use crate::time::{Millis, Timestamp};

/// The version that this build writes. Older ones are read; newer ones are refused.
pub(crate) const VERSION: u8 = 1;

const PUBLISHED: u8 = 0x10;
const FENCES: u8 = 0x20;

/// What core remembers of a slot.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Record {
    pub(crate) state: State,
    pub(crate) fingerprint: Fingerprint,
    /// Who holds the lease, or held it last.
    pub(crate) owner: Owner,
    /// Counts from 1.
    pub(crate) attempt: u32,
    /// 0 on a first attempt that was not touched since: see [`Record::fence`].
    pub(crate) fence: u64,
    /// When the lease was granted; 0 until its first renewal: see [`Record::granted_at`].
    pub(crate) granted_at: Timestamp,
    /// The span of the lease that this record was put with.
    pub(crate) lease: Millis,
    /// How long before `gone_at` a completed record stops to be replayed.
    pub(crate) tombstone: Millis,
    /// The slot's body is what an attempt published.
    pub(crate) published: bool,
    /// A lapse makes the outcome unknown, whoever finds it.
    pub(crate) fences: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum State {
    /// An owner holds a lease, live or lapsed.
    InProgress = 1,
    /// The body is the outcome.
    Completed = 2,
    /// It was done; the outcome could not be stored.
    Unstorable = 3,
    /// The owner gave it back after a failure.
    Released = 4,
    /// The owner cannot tell what came of it.
    Unknown = 5,
}

impl Record {
    /// When the lease was granted. A first grant is put before the store's time is known, so it
    /// follows from the deadline.
    pub(crate) fn granted_at(&self, slot: &Slot) -> Timestamp {
        if self.granted_at == Timestamp::default() {
            slot.lease_until.back(self.lease)
        } else {
            self.granted_at
        }
    }

    /// The fence of the lease.
    pub(crate) fn fence(&self, slot: &Slot) -> u64 {
        if self.fence == 0 {
            first_fence(self.granted_at(slot))
        } else {
            self.fence
        }
    }

    pub(crate) fn encode(&self) -> Head {
        let mut head = Head::default();
        let flags =
            if self.published { PUBLISHED } else { 0 } | if self.fences { FENCES } else { 0 };
        head.push(&[
            VERSION,
            self.state as u8 | flags,
            self.fingerprint.version(),
        ]);
        head.push(self.fingerprint.digest());
        head.push(self.owner.as_bytes());
        for number in [
            u64::from(self.attempt),
            self.fence,
            self.granted_at.as_millis(),
            self.lease.count(),
            self.tombstone.count(),
        ] {
            leb128(&mut head, number);
        }
        head
    }

    pub(crate) fn decode(head: &Head) -> Result<Self, SlotError> {
        let mut rest = head.as_bytes();
        match take::<1>(&mut rest)? {
            [VERSION] => {}
            [0] => return Err(SlotError::Corrupt),
            [version] => return Err(SlotError::Newer { version }),
        }
        let [state] = take(&mut rest)?;
        let state_of = |bits| {
            [
                State::InProgress,
                State::Completed,
                State::Unstorable,
                State::Released,
                State::Unknown,
            ]
            .into_iter()
            .find(|state| *state as u8 == bits)
        };
        let state_of = state_of(state & !(PUBLISHED | FENCES)).ok_or(SlotError::Corrupt)?;
        let [version] = take(&mut rest)?;
        let digest = take(&mut rest)?;
        let owner = take(&mut rest)?;
        let mut numbers = [0; 5];
        for place in &mut numbers {
            *place = number(&mut rest)?;
        }
        let [attempt, fence, granted_at, lease, tombstone] = numbers;
        let record = Self {
            state: state_of,
            published: state & PUBLISHED != 0,
            fences: state & FENCES != 0,
            fingerprint: Fingerprint::from_parts(version, digest),
            owner: Owner::from_bytes(owner),
            attempt: u32::try_from(attempt).map_err(|_| SlotError::Corrupt)?,
            fence,
            granted_at: Timestamp::from_millis(granted_at),
            lease: Millis::from(lease),
            tombstone: Millis::from(tombstone),
        };
        if !rest.is_empty() || record.attempt == 0 {
            return Err(SlotError::Corrupt);
        }
        Ok(record)
    }
}

/// The fence of a first attempt: the store's time, with room for the attempts that share it.
pub(crate) fn first_fence(granted_at: Timestamp) -> u64 {
    (granted_at.as_millis() << 16) | 1
}

fn take<const N: usize>(rest: &mut &[u8]) -> Result<[u8; N], SlotError> {
    let (taken, behind) = rest.split_first_chunk().ok_or(SlotError::Corrupt)?;
    *rest = behind;
    Ok(*taken)
}

fn leb128(to: &mut Head, mut number: u64) {
    while number > 0x7f {
        to.push(&[number as u8 | 0x80]);
        number >>= 7;
    }
    to.push(&[number as u8]);
}

fn number(rest: &mut &[u8]) -> Result<u64, SlotError> {
    let mut number = 0u64;
    for shift in (0..64).step_by(7) {
        let [byte] = take(rest)?;
        let bits = u64::from(byte & 0x7f);
        if bits << shift >> shift != bits {
            break;
        }
        number |= bits << shift;
        if byte & 0x80 == 0 {
            return Ok(number);
        }
    }
    Err(SlotError::Corrupt)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn record() -> Record {
        Record {
            state: State::InProgress,
            fingerprint: Fingerprint::from_parts(1, [0xf0; 32]),
            owner: Owner::from_bytes([0x0e; 16]),
            attempt: 3,
            fence: 0x1_2345,
            granted_at: Timestamp::from_millis(300),
            lease: Millis::from(60_000),
            tombstone: Millis::default(),
            published: true,
            fences: false,
        }
    }

    /// A change here changes what is stored: it needs a new version, and the old one still read.
    #[test]
    fn the_encoding_of_version_1_is_as_it_was() {
        let head = crate::hex::hex(record().encode().as_bytes());
        let expected = [
            "01",
            "11",
            "01",
            &"f0".repeat(32),
            &"0e".repeat(16),
            "03",
            "c5c604",
            "ac02",
            "e0d403",
            "00",
        ];
        assert_eq!(head, expected.concat());
    }

    #[test]
    fn every_cut_and_every_addition_is_corrupt() {
        let head = record().encode();
        for length in 0..head.as_bytes().len() {
            let cut = Head::from_bytes(&head.as_bytes()[..length]).unwrap();
            assert_eq!(Record::decode(&cut), Err(SlotError::Corrupt), "{length}");
        }
        let longer = Head::from_bytes(&[head.as_bytes(), &[0]].concat()).unwrap();
        assert_eq!(Record::decode(&longer), Err(SlotError::Corrupt));
    }

    #[test]
    fn a_newer_version_is_told_from_a_corrupt_record() {
        let mut bytes = record().encode().as_bytes().to_vec();
        bytes[0] = 2;
        let head = Head::from_bytes(&bytes).unwrap();
        assert_eq!(Record::decode(&head), Err(SlotError::Newer { version: 2 }));
    }

    #[test]
    fn the_largest_record_fits() {
        let record = Record {
            attempt: u32::MAX,
            fence: u64::MAX,
            granted_at: Timestamp::from_millis(u64::MAX),
            lease: Millis::from(u64::MAX),
            tombstone: Millis::from(u64::MAX),
            ..record()
        };
        assert_eq!(Record::decode(&record.encode()), Ok(record));
    }

    proptest! {
        #[test]
        fn decoding_any_bytes_gives_a_record_or_an_error(bytes in proptest::collection::vec(any::<u8>(), 0..=Head::MAX_BYTES)) {
            let _ = Record::decode(&Head::from_bytes(&bytes).unwrap());
        }

        #[test]
        fn a_damaged_byte_never_makes_another_encoding_of_the_same_record(at in 0usize..60, bit in 0u8..8) {
            let mut bytes = record().encode().as_bytes().to_vec();
            let at = at % bytes.len();
            bytes[at] ^= 1 << bit;
            prop_assert_ne!(Record::decode(&Head::from_bytes(&bytes).unwrap()), Ok(record()));
        }
    }
}
