//! A [`Swap`] as parameters of the SQL functions, and its row as [`Swapped`].

use std::error::Error;
use std::time::Duration;

use bytes::BytesMut;
use idemp::{Expect, Head, Put, Rev, Slot, StoreError, Swap, Swapped, Timestamp, Verdict};
use tokio_postgres::Row;
use tokio_postgres::types::{FromSql, IsNull, ToSql, Type, to_sql_checked};

use crate::error::unreadable;

/// The parameters of the functions; what comes behind them is each one's own.
pub(crate) struct Ask<'a> {
    tenant: &'a str,
    key: Vec<u8>,
    expect: Option<&'a [u8]>,
    rev: Option<&'a [u8]>,
    lease_for: Span,
    keep_for: Span,
    head: &'a [u8],
    body: &'a [u8],
}

/// The types of an [`Ask`] and of how it is committed.
const TYPES: [Type; 9] = [
    Type::TEXT,
    Type::BYTEA,
    Type::BYTEA,
    Type::BYTEA,
    Type::INTERVAL,
    Type::INTERVAL,
    Type::BYTEA,
    Type::BYTEA,
    Type::TEXT,
];

pub(crate) fn types() -> Vec<Type> {
    TYPES.to_vec()
}

/// Of a claim: it expects nothing, and does not say so.
pub(crate) fn claim_types() -> Vec<Type> {
    [&TYPES[..2], &TYPES[3..]].concat()
}

/// Inside a transaction of the caller's: how long it waits, and whether it goes on.
pub(crate) fn types_within() -> Vec<Type> {
    [&TYPES[..], &[Type::BOOL]].concat()
}

/// Of a lock inside a transaction of the caller's: whose, what is expected, and how long it waits.
pub(crate) fn types_locking() -> Vec<Type> {
    [&TYPES[..3], &TYPES[8..]].concat()
}

/// Of an outcome where nothing lay before: it expects nothing, has no lease, and waits.
pub(crate) fn types_putting() -> Vec<Type> {
    [&TYPES[..2], &TYPES[3..4], &TYPES[5..]].concat()
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
                lease_for: Span(new.lease_for),
                keep_for: Span(new.keep_for),
                head: new.head.as_bytes(),
                body: &new.body,
            },
            Put::Remove => Self {
                tenant,
                key,
                expect,
                rev: None,
                lease_for: Span(Duration::ZERO),
                keep_for: Span(Duration::ZERO),
                head: &[],
                body: &[],
            },
        })
    }

    /// Whether it expects nothing and puts something.
    pub(crate) fn claims(&self) -> bool {
        self.expect.is_none() && self.rev.is_some()
    }

    pub(crate) fn parameters<'p>(
        &'p self,
        commit: &'p (dyn ToSql + Sync),
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
            commit,
        ]
    }

    /// The parameters of a lock.
    pub(crate) fn lock<'p>(&'p self, wait: &'p (dyn ToSql + Sync)) -> [&'p (dyn ToSql + Sync); 4] {
        [&self.tenant, &self.key, &self.expect, wait]
    }

    /// The parameters of an outcome where nothing lay before.
    pub(crate) fn outcome<'p>(
        &'p self,
        wait: &'p (dyn ToSql + Sync),
    ) -> [&'p (dyn ToSql + Sync); 7] {
        let [tenant, key, _, rev, _, keep_for, head, body, wait] = self.parameters(wait);
        [tenant, key, rev, keep_for, head, body, wait]
    }

    /// The parameters of a claim.
    pub(crate) fn claim<'p>(
        &'p self,
        commit: &'p (dyn ToSql + Sync),
    ) -> [&'p (dyn ToSql + Sync); 8] {
        let [tenant, key, _, rev, lease_for, keep_for, head, body, commit] =
            self.parameters(commit);
        [tenant, key, rev, lease_for, keep_for, head, body, commit]
    }
}

/// Whether a lease lives on what is put: then it is not the end of the work.
pub(crate) fn leases(put: &Put) -> bool {
    matches!(put, Put::Slot(new) if Span(new.lease_for).millis() > 0)
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

/// Whole milliseconds, as `Timestamp` counts them, and at most 100,000 years: the server's times end
/// in 294276.
#[derive(Debug)]
struct Span(Duration);

impl Span {
    const MOST: i64 = 100_000 * 365 * 86_400_000;

    fn millis(&self) -> i64 {
        i64::try_from(self.0.as_millis()).map_or(Self::MOST, |millis| millis.min(Self::MOST))
    }
}

/// As the server writes an interval: microseconds, days and months.
impl ToSql for Span {
    fn to_sql(&self, _: &Type, out: &mut BytesMut) -> Result<IsNull, Box<dyn Error + Sync + Send>> {
        out.extend_from_slice(&(self.millis() * 1000).to_be_bytes());
        out.extend_from_slice(&[0; 8]);
        Ok(IsNull::No)
    }

    fn accepts(ty: &Type) -> bool {
        *ty == Type::INTERVAL
    }

    to_sql_checked!();
}

/// Reads what a claim answers: the columns of `claim.sql`. `None` where the record was going as it was
/// read: then it is to be asked again, by the function that tells such moments apart.
pub(crate) fn claimed(row: &Row) -> Result<Option<Swapped>, StoreError> {
    let answered: Option<&[u8]> = row.try_get(6).map_err(|error| unreadable(&error))?;
    if answered.is_some() {
        return read(answered);
    }
    let time =
        |column| -> Result<Time<'_>, _> { row.try_get(column).map_err(|error| unreadable(&error)) };
    let bytes = |column| row.try_get(column).map_err(|error| unreadable(&error));
    let there = slot(time(1)?.0, time(2)?.0, bytes(3)?, bytes(4)?, bytes(5)?)?;
    let now = timestamp(time(0)?.0)?;
    if now >= there.gone_at {
        return Ok(None);
    }
    let verdict = Verdict::Lost(Some(there));
    Ok(Some(Swapped { now, verdict }))
}

/// Reads the answer, in one of the three forms that `0001_table.sql` tells; `None` where another
/// transaction holds the record.
pub(crate) fn answer(row: &Row) -> Result<Option<Swapped>, StoreError> {
    read(row.try_get(0).map_err(|error| unreadable(&error))?)
}

/// Reads what a lock answers: the time, and what lies there, which may be gone; `None` where another
/// transaction has the lock.
pub(crate) fn locked(row: &Row) -> Result<Option<(Timestamp, Option<Slot>)>, StoreError> {
    match answer(row)? {
        None => Ok(None),
        Some(Swapped {
            now,
            verdict: Verdict::Lost(there),
        }) => Ok(Some((now, there))),
        Some(_) => Err(not_ours("an answer")),
    }
}

fn read(answer: Option<&[u8]>) -> Result<Option<Swapped>, StoreError> {
    let Some(answer) = answer else {
        return Ok(None);
    };
    let (now, verdict) = match *answer {
        [ref now @ .., 0] if now.len() == 8 => (timestamp(now)?, Verdict::Lost(None)),
        ref now if now.len() == 8 => (timestamp(now)?, Verdict::Won),
        _ => {
            let [now, lease_until, gone_at, rev, head, body] = elements(answer)?;
            let there = slot(lease_until, gone_at, rev, head, body)?;
            (timestamp(now)?, Verdict::Lost(Some(there)))
        }
    };
    Ok(Some(Swapped { now, verdict }))
}

fn slot(
    lease_until: &[u8],
    gone_at: &[u8],
    rev: &[u8],
    head: &[u8],
    body: &[u8],
) -> Result<Slot, StoreError> {
    Ok(Slot {
        rev: Rev::from_bytes(rev.try_into().map_err(|_| not_ours("a revision"))?),
        lease_until: timestamp(lease_until)?,
        gone_at: timestamp(gone_at)?,
        head: Head::from_bytes(head).ok_or_else(|| not_ours("a head"))?,
        body: body.into(),
    })
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

/// A column of a time, as the server sends it.
struct Time<'a>(&'a [u8]);

impl<'a> FromSql<'a> for Time<'a> {
    fn from_sql(_: &Type, raw: &'a [u8]) -> Result<Self, Box<dyn Error + Sync + Send>> {
        Ok(Self(raw))
    }

    fn accepts(ty: &Type) -> bool {
        *ty == Type::TIMESTAMPTZ
    }
}

/// As `timestamptz_send` writes it: microseconds since 2000. Before 1970 there is nothing. The clock is
/// rounded as the server rounds it; all other times are whole milliseconds.
fn timestamp(micros: &[u8]) -> Result<Timestamp, StoreError> {
    const YEAR_2000: i64 = 946_684_800_000;
    let micros = micros.try_into().map_err(|_| not_ours("a time"))?;
    let micros = i64::from_be_bytes(micros);
    let millis = YEAR_2000 + micros.saturating_add(500).div_euclid(1000);
    Ok(Timestamp::from_millis(u64::try_from(millis).unwrap_or(0)))
}

fn not_ours(what: &str) -> StoreError {
    StoreError::corrupt(format!("{what} in the table has a length that none has"))
}
