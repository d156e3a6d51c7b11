//! What is the value of a key: the version of this form in one byte, the revision (16), how long
//! before the key's expiry the lease ends (8, little-endian milliseconds), the length of the head
//! (1), the head, the body. The key's expiry is `gone_at`: so deadlines need no clock but the
//! server's, and no script to be written.

use std::time::Duration;

use idemp::{Body, Head, NewSlot, Rev, Slot, Timestamp};

use crate::fault::RedisFault;

pub(crate) const VERSION: u8 = 1;
const HEAD_AT: usize = 1 + 16 + 8 + 1;
/// Beyond it, a script's numbers have no milliseconds. 142,000 years.
const LONGEST: u64 = 1 << 52;

/// The value for a slot that replaces nothing.
pub(crate) fn encode(new: &NewSlot) -> Result<Vec<u8>, RedisFault> {
    let (lease_for, keep_for) = (millis(new.lease_for)?, millis(new.keep_for)?);
    let mut value = Vec::with_capacity(HEAD_AT + new.head.as_bytes().len() + new.body.len());
    value.extend_from_slice(&version_and_rev(new.rev));
    value.extend_from_slice(&(keep_for as i64 - lease_for as i64).to_le_bytes());
    push_rest(&mut value, new);
    Ok(value)
}

pub(crate) fn version_and_rev(rev: Rev) -> [u8; 17] {
    let mut bytes = [VERSION; 17];
    bytes[1..].copy_from_slice(rev.as_bytes());
    bytes
}

/// What lies behind the deadlines.
pub(crate) fn rest(new: &NewSlot) -> Vec<u8> {
    let mut rest = Vec::with_capacity(1 + new.head.as_bytes().len() + new.body.len());
    push_rest(&mut rest, new);
    rest
}

fn push_rest(value: &mut Vec<u8>, new: &NewSlot) {
    let head = new.head.as_bytes();
    value.push(head.len() as u8);
    value.extend_from_slice(head);
    value.extend_from_slice(&new.body);
}

/// The slot of a key with this value and expiry.
pub(crate) fn decode(value: &[u8], gone_at: i64) -> Result<Slot, RedisFault> {
    // A key that never expires was not written by this store, or was made to stay by hand.
    let expiry = u64::try_from(gone_at).map_err(|_| RedisFault::Damaged)?;
    match value.first() {
        Some(&VERSION) => {}
        Some(&version) if version > VERSION => return Err(RedisFault::Newer { version }),
        _ => return Err(RedisFault::Damaged),
    }
    let (fixed, behind) = value
        .split_first_chunk::<HEAD_AT>()
        .ok_or(RedisFault::Damaged)?;
    let rev = fixed[1..17].try_into().map_err(|_| RedisFault::Damaged)?;
    let before = i64::from_le_bytes(fixed[17..25].try_into().map_err(|_| RedisFault::Damaged)?);
    let lease_until = gone_at.checked_sub(before).map(u64::try_from);
    let (head, body) = behind
        .split_at_checked(usize::from(fixed[25]))
        .ok_or(RedisFault::Damaged)?;
    Ok(Slot {
        rev: Rev::from_bytes(rev),
        lease_until: match lease_until {
            Some(Ok(lease_until)) => Timestamp::from_millis(lease_until),
            _ => return Err(RedisFault::Damaged),
        },
        gone_at: Timestamp::from_millis(expiry),
        head: Head::from_bytes(head).ok_or(RedisFault::Damaged)?,
        body: Body::from(body),
    })
}

/// Whole milliseconds, as core cuts them.
pub(crate) fn millis(span: Duration) -> Result<u64, RedisFault> {
    u64::try_from(span.as_millis())
        .ok()
        .filter(|millis| *millis <= LONGEST)
        .ok_or(RedisFault::TooLong)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn new(body: &[u8]) -> NewSlot {
        NewSlot {
            rev: Rev::from_bytes([9; 16]),
            lease_for: Duration::from_millis(30_000),
            keep_for: Duration::from_millis(10_000),
            head: Head::from_bytes(b"\0head\xff").unwrap(),
            body: body.into(),
        }
    }

    #[test]
    fn a_record_gives_back_its_slot_also_where_the_lease_outlives_it() {
        for body in [&b""[..], b"\0", &[7; 100_000]] {
            let new = new(body);
            let slot = decode(&encode(&new).unwrap(), 1_010_000).unwrap();
            assert_eq!(slot.rev, new.rev);
            assert_eq!(slot.lease_until, Timestamp::from_millis(1_030_000));
            assert_eq!(slot.gone_at, Timestamp::from_millis(1_010_000));
            assert_eq!((slot.head, slot.body), (new.head, new.body));
        }
    }

    #[test]
    fn no_part_of_a_record_and_no_other_value_reads_as_a_slot() {
        let whole = encode(&new(b"")).unwrap();
        for cut in 0..whole.len() {
            let read = decode(&whole[..cut], 1_010_000);
            assert!(matches!(read, Err(RedisFault::Damaged)), "{cut} bytes");
        }
        assert!(matches!(decode(&whole, -1), Err(RedisFault::Damaged)));
        let mut later = whole.clone();
        later[0] = VERSION + 1;
        let newer = RedisFault::Newer { version: 2 };
        assert_eq!(
            decode(&later, 1).unwrap_err().to_string(),
            newer.to_string()
        );
        let mut before_time = whole;
        before_time[17..25].copy_from_slice(&i64::MAX.to_le_bytes());
        assert!(decode(&before_time, 1_010_000).is_err());
        before_time[17..25].copy_from_slice(&i64::MIN.to_le_bytes());
        assert!(decode(&before_time, 1_010_000).is_err());
    }

    #[test]
    fn what_the_server_cannot_count_is_refused_before_it_is_asked() {
        assert!(millis(Duration::MAX).is_err());
        assert!(millis(Duration::from_millis(LONGEST + 1)).is_err());
        assert_eq!(millis(Duration::from_micros(1_999)).unwrap(), 1);
    }
}
