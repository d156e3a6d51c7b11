//! A [`Swap`] as parameters of the SQL function, and its row as [`Swapped`].

use std::time::Duration;

use idemp::{Expect, Head, Put, Rev, Slot, StoreError, Swap, Swapped, Timestamp, Verdict};
use tokio_postgres::Row;
use tokio_postgres::types::{ToSql, Type};

use crate::error::unreadable;

/// The parameters of both functions; the ninth is each one's own.
pub(crate) struct Ask<'a> {
    tenant: &'a str,
    key: Vec<u8>,
    expect: Option<&'a [u8]>,
    rev: Option<&'a [u8]>,
    lease_for: i64,
    keep_for: i64,
    head: &'a [u8],
    body: &'a [u8],
}

/// The types of an [`Ask`], without the ninth.
const TYPES: [Type; 8] = [
    Type::TEXT,
    Type::BYTEA,
    Type::BYTEA,
    Type::BYTEA,
    Type::INT8,
    Type::INT8,
    Type::BYTEA,
    Type::BYTEA,
];

/// The types of all nine parameters.
pub(crate) fn types(ninth: Type) -> [Type; 9] {
    let [a, b, c, d, e, f, g, h] = TYPES;
    [a, b, c, d, e, f, g, h, ninth]
}

impl<'a> Ask<'a> {
    /// The longest body, in bytes.
    const MAX_BODY_BYTES: usize = 256 << 20;

    pub(crate) fn new(swap: &'a Swap) -> Result<Self, StoreError> {
        let (tenant, key) = columns(&swap.slot);
        let expect = match &swap.expect {
            Expect::Vacant => None,
            Expect::Rev(rev) => Some(&rev.as_bytes()[..]),
        };
        Ok(match &swap.put {
            Put::Slot(new) if new.body.len() > Self::MAX_BODY_BYTES => {
                return Err(StoreError::unusable("a body has at most 256 MiB"));
            }
            Put::Slot(new) => Self {
                tenant,
                key,
                expect,
                rev: Some(new.rev.as_bytes()),
                lease_for: millis(new.lease_for),
                keep_for: millis(new.keep_for),
                head: new.head.as_bytes(),
                body: &new.body,
            },
            Put::Remove => Self {
                tenant,
                key,
                expect,
                rev: None,
                lease_for: 0,
                keep_for: 0,
                head: &[],
                body: &[],
            },
        })
    }

    /// Whether it expects nothing and puts something.
    pub(crate) fn claims(&self) -> bool {
        self.expect.is_none() && self.rev.is_some()
    }

    /// Whether it replaces what is known by something without a lease, or by nothing.
    pub(crate) fn ends(&self) -> bool {
        self.expect.is_some() && self.lease_for == 0
    }

    pub(crate) fn parameters<'p>(
        &'p self,
        ninth: &'p (dyn ToSql + Sync),
    ) -> [&'p (dyn ToSql + Sync); 9] {
        [
            &self.tenant,
            &self.key,
            &self.expect,
            &self.rev,
            &self.lease_for,
            &self.keep_for,
            &self.head,
            &self.body,
            ninth,
        ]
    }
}

/// The tenant is the first part of the scope. The key is the rest of the slot's name as it is:
/// the number of parts, the other parts behind their lengths, and the key.
fn columns(slot: &idemp::SlotKey) -> (&str, Vec<u8>) {
    let name = slot.as_bytes();
    let tenant = slot.scope_parts()[0];
    let mut key = Vec::with_capacity(name.len() - tenant.len() - 2);
    key.push(name[0]);
    key.extend_from_slice(&name[3 + tenant.len()..]);
    (tenant, key)
}

/// Whole milliseconds, as `Timestamp` counts them. 2^60 of them are 36 million years: a sum of
/// two does not overflow.
fn millis(span: Duration) -> i64 {
    i64::try_from(span.as_millis()).map_or(1 << 60, |millis| millis.min(1 << 60))
}

/// Reads the answer, in one of the three forms that `0001_table.sql` tells; `None` where another
/// transaction holds the record.
pub(crate) fn answer(row: &Row) -> Result<Option<Swapped>, StoreError> {
    let answer: Option<&[u8]> = row.try_get(0).map_err(|error| unreadable(&error))?;
    let Some(answer) = answer else {
        return Ok(None);
    };
    let (now, verdict) = match *answer {
        [ref now @ .., 0] if now.len() == 8 => (timestamp(now)?, Verdict::Lost(None)),
        ref now if now.len() == 8 => (timestamp(now)?, Verdict::Won),
        _ => {
            let [now, lease_until, gone_at, rev, head, body] = elements(answer)?;
            let there = Slot {
                rev: Rev::from_bytes(rev.try_into().map_err(|_| not_ours("a revision"))?),
                lease_until: timestamp(lease_until)?,
                gone_at: timestamp(gone_at)?,
                head: Head::from_bytes(head).ok_or_else(|| not_ours("a head"))?,
                body: body.into(),
            };
            (timestamp(now)?, Verdict::Lost(Some(there)))
        }
    };
    Ok(Some(Swapped { now, verdict }))
}

/// The elements of an array in the form of the wire: after five numbers of 32 bits each behind its
/// length.
fn elements<const N: usize>(array: &[u8]) -> Result<[&[u8]; N], StoreError> {
    let mut elements = [&[][..]; N];
    let mut rest = array.get(20..).ok_or_else(|| not_ours("an answer"))?;
    for element in &mut elements {
        let (length, behind) = rest
            .split_first_chunk()
            .ok_or_else(|| not_ours("an answer"))?;
        let length = usize::try_from(i32::from_be_bytes(*length));
        let split = length
            .ok()
            .and_then(|length| behind.split_at_checked(length));
        (*element, rest) = split.ok_or_else(|| not_ours("an answer"))?;
    }
    match rest {
        [] => Ok(elements),
        _ => Err(not_ours("an answer")),
    }
}

/// As `int8send` writes it. Before 1970 there is nothing.
fn timestamp(millis: &[u8]) -> Result<Timestamp, StoreError> {
    let millis = millis.try_into().map_err(|_| not_ours("a time"))?;
    let millis = i64::from_be_bytes(millis);
    Ok(Timestamp::from_millis(u64::try_from(millis).unwrap_or(0)))
}

fn not_ours(what: &str) -> StoreError {
    StoreError::corrupt(format!("{what} in the table has a length that none has"))
}
