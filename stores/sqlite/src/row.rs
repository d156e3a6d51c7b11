//! Rows and slots, and the one step on them. The decision is [`apply`]'s.

use idemp::{Body, Clock, Head, Rev, Slot, Swap, Swapped, Timestamp, Verdict, apply};
use rusqlite::{CachedStatement, Connection, Row, Statement, params};
use sha2::{Digest, Sha256};

use crate::error::Failure;

const FIND: &str = "SELECT id, lease_until, gone_at, rev, head, body FROM slots \
                    WHERE hash = ?1 AND key = ?2";
const INSERT: &str = "INSERT INTO slots (hash, key, look_at, lease_until, gone_at, rev, head, body) \
                      VALUES (?1, ?2, ?4, ?3, ?4, ?5, ?6, ?7)";
const UPDATE: &str = "UPDATE slots SET lease_until = ?2, gone_at = ?3, rev = ?4, head = ?5, \
                      body = ?6 WHERE id = ?1";
const REMOVE: &str = "DELETE FROM slots WHERE id = ?1";
const LOOK: &str = "SELECT id, gone_at FROM slots WHERE look_at <= ?1 ORDER BY look_at LIMIT ?2";
const LOOK_LATER: &str = "UPDATE slots SET look_at = gone_at WHERE id = ?1";

/// Prepares every statement, so that a file that lacks something says so when it is opened.
pub(crate) fn prepare(connection: &Connection) -> Result<(), Failure> {
    for sql in [FIND, INSERT, UPDATE, REMOVE, LOOK, LOOK_LATER] {
        connection.prepare_cached(sql)?;
    }
    Ok(())
}

/// What a swap would come to: the answer where it loses; `None` where it would win.
///
/// The time is read before the slot is: then a slot that is said to be gone was gone when it was
/// read, and nobody can have prolonged it in between.
pub(crate) fn ask(
    connection: &Connection,
    clock: &dyn Clock,
    swap: &Swap,
) -> Result<Option<Swapped>, Failure> {
    let now = clock.now();
    let (_, _, reply) = decide(&mut *prepared(connection, FIND)?, hash_of(swap), now, swap)?;
    Ok(Some(reply).filter(|reply| reply.verdict != Verdict::Won))
}

/// The statements of one transaction, which prepares each once, however many swaps are in it.
pub(crate) struct Statements<'a> {
    connection: &'a Connection,
    find: Option<CachedStatement<'a>>,
    insert: Option<CachedStatement<'a>>,
    update: Option<CachedStatement<'a>>,
}

impl<'a> Statements<'a> {
    pub(crate) fn of(connection: &'a Connection) -> Self {
        Self {
            connection,
            find: None,
            insert: None,
            update: None,
        }
    }

    /// Carries out a swap within a transaction, which takes the write lock only where the swap wins.
    pub(crate) fn carry_out(&mut self, clock: &dyn Clock, swap: &Swap) -> Result<Done, Failure> {
        let find = once(&mut self.find, self.connection, FIND)?;
        let hash = hash_of(swap);
        let (id, slot, reply) = decide(find, hash, clock.now(), swap)?;
        let new_row = reply.verdict == Verdict::Won && id.is_none() && slot.is_some();
        let mut done = Done {
            reply,
            new_row,
            wrote: false,
        };
        if done.reply.verdict != Verdict::Won {
            return Ok(done);
        }
        let written = match (id, slot) {
            (None, None) => return Ok(done),
            (Some(id), None) => prepared(self.connection, REMOVE)?.execute([id])?,
            (Some(id), Some(slot)) => self.update(id, &slot)?,
            (None, Some(slot)) => self.insert(hash, swap, &slot)?,
        };
        done.wrote = written == 1;
        match done.wrote {
            true => Ok(done),
            // The row that was found a moment ago, in this transaction, is not there: an index lies.
            false => Err(Failure::Row("id")),
        }
    }

    fn insert(&mut self, hash: i64, swap: &Swap, slot: &Slot) -> Result<usize, Failure> {
        let insert = once(&mut self.insert, self.connection, INSERT)?;
        Ok(insert.execute(params![
            hash,
            swap.slot.as_bytes(),
            stored(slot.lease_until),
            stored(slot.gone_at),
            slot.rev.as_bytes(),
            slot.head.as_bytes(),
            &slot.body[..],
        ])?)
    }

    fn update(&mut self, id: i64, slot: &Slot) -> Result<usize, Failure> {
        let update = once(&mut self.update, self.connection, UPDATE)?;
        Ok(update.execute(params![
            id,
            stored(slot.lease_until),
            stored(slot.gone_at),
            slot.rev.as_bytes(),
            slot.head.as_bytes(),
            &slot.body[..],
        ])?)
    }
}

/// What the index has in the key's place. Nobody can choose many keys of one hash, which all would be
/// read to find one of them.
fn hash_of(swap: &Swap) -> i64 {
    let [a, b, c, d, e, f, g, h, ..]: [u8; 32] = Sha256::digest(swap.slot.as_bytes()).into();
    i64::from_be_bytes([a, b, c, d, e, f, g, h])
}

/// See [`Statements::carry_out`].
pub(crate) struct Done {
    pub(crate) reply: Swapped,
    pub(crate) new_row: bool,
    /// From then on the transaction has the write lock: its view cannot be older than a write.
    pub(crate) wrote: bool,
}

/// Whether [`collect`] would look at anything.
pub(crate) fn is_any_due(connection: &Connection, now: Timestamp) -> Result<bool, Failure> {
    Ok(prepared(connection, LOOK)?.exists(params![stored(now), 1])?)
}

/// Runs a statement that takes and gives nothing.
pub(crate) fn run(connection: &Connection, sql: &str) -> Result<(), Failure> {
    prepared(connection, sql)?.execute([])?;
    Ok(())
}

/// Removes slots that are gone by now, and gives how many; looks at no more than `at_most` rows, and
/// gives how many. Within a transaction that holds the write lock.
pub(crate) fn collect(
    connection: &Connection,
    now: Timestamp,
    at_most: u32,
) -> Result<Collected, Failure> {
    let mut look = prepared(connection, LOOK)?;
    let due: Vec<(i64, i64)> = look
        .query_map(params![stored(now), at_most], |row| {
            Ok((row.get(0)?, row.get(1)?))
        })?
        .collect::<Result<_, _>>()?;
    let mut collected = Collected {
        looked_at: due.len() as u64,
        gone: 0,
    };
    for (id, gone_at) in due {
        let gone = time(gone_at, "gone_at")? <= now;
        let mut write = prepared(connection, if gone { REMOVE } else { LOOK_LATER })?;
        write.execute([id])?;
        collected.gone += u64::from(gone);
    }
    Ok(collected)
}

/// See [`collect`].
pub(crate) struct Collected {
    pub(crate) looked_at: u64,
    pub(crate) gone: u64,
}

type Decided = (Option<i64>, Option<Slot>, Swapped);

/// The row's id where there is a row, what the slot becomes, and the answer.
fn decide(
    find: &mut Statement<'_>,
    hash: i64,
    now: Timestamp,
    swap: &Swap,
) -> Result<Decided, Failure> {
    let mut rows = find.query(params![hash, swap.slot.as_bytes()])?;
    let row = rows.next()?;
    let mut slot = row.map(slot_without_body).transpose()?;
    let mut reply = apply(&mut slot, swap, now);
    // The body is read only where it is handed back: a decision never needs it.
    if let (Verdict::Lost(Some(slot)), Some(row)) = (&mut reply.verdict, row) {
        slot.body = Body::from(bytes(row, 5, "body")?);
    }
    let id = row.map(|row| row.get(0)).transpose()?;
    Ok((id, slot, reply))
}

fn slot_without_body(row: &Row<'_>) -> Result<Slot, Failure> {
    let rev = bytes(row, 3, "rev")?.try_into();
    Ok(Slot {
        rev: Rev::from_bytes(rev.map_err(|_| Failure::Row("rev"))?),
        lease_until: time(row.get(1)?, "lease_until")?,
        gone_at: time(row.get(2)?, "gone_at")?,
        head: Head::from_bytes(bytes(row, 4, "head")?).ok_or_else(|| Failure::Row("head"))?,
        body: Body::default(),
    })
}

fn bytes<'a>(row: &'a Row<'_>, at: usize, column: &'static str) -> Result<&'a [u8], Failure> {
    row.get_ref(at)?.as_blob().map_err(|_| Failure::Row(column))
}

/// SQLite's integers end at `i64::MAX`, which stands for the end of time.
fn stored(time: Timestamp) -> i64 {
    i64::try_from(time.as_millis()).unwrap_or(i64::MAX)
}

fn time(stored: i64, column: &'static str) -> Result<Timestamp, Failure> {
    match u64::try_from(stored) {
        Ok(millis) if stored < i64::MAX => Ok(Timestamp::from_millis(millis)),
        Ok(_) => Ok(Timestamp::from_millis(u64::MAX)),
        Err(_) => Err(Failure::Row(column)),
    }
}

/// The statement at its place, where it is prepared if it was not yet.
fn once<'b, 'a>(
    place: &'b mut Option<CachedStatement<'a>>,
    connection: &'a Connection,
    sql: &str,
) -> Result<&'b mut Statement<'a>, Failure> {
    let statement = match place.take() {
        Some(statement) => statement,
        None => prepared(connection, sql)?,
    };
    Ok(place.insert(statement))
}

fn prepared<'a>(connection: &'a Connection, sql: &str) -> Result<CachedStatement<'a>, Failure> {
    Ok(connection.prepare_cached(sql)?)
}
