//! The one connection that writes: a group is one transaction, and one sync.

use std::cell::Cell;

use idemp::{Clock, Swap};
use rusqlite::{Connection, hooks::Wal};

use crate::error::{Failure, Kind};
use crate::queue::{Answer, Chores, Group, Queue};
use crate::row::{self, Collected, Statements};

/// The log's length in pages (of 4 KiB) from which on it is brought into the file: a page that was
/// written many times meanwhile is then written once.
const CHECKPOINT_AT: i32 = 8192;

/// Where that was not done: after so many more it is tried again.
const AGAIN_AFTER: i32 = 4096;

/// The length from which on writers wait until that is done.
const LONG: i32 = CHECKPOINT_AT + 2 * AGAIN_AFTER;

/// After so many new rows the purge looks at some; at more of them, so that it catches up.
const PURGE_EVERY: u64 = 64;
const PURGE_ROWS: u32 = 256;

pub(crate) struct Writer {
    connection: Connection,
    new_rows: u64,
    checkpoint_at: i32,
    groups: u64,
}

/// The swaps of a transaction, in their order.
trait Swaps {
    /// The one after so many; `locked` where the transaction has the write lock.
    fn after(&mut self, count: usize, locked: bool) -> Option<&Swap>;
}

impl Swaps for &[&Swap] {
    fn after(&mut self, count: usize, _locked: bool) -> Option<&Swap> {
        self.get(count).copied()
    }
}

/// Takes in who comes until there is nobody: their work is done while this transaction's is, and
/// they share its sync.
struct Growing<'a> {
    first: Option<&'a Swap>,
    group: &'a mut Group,
    queue: &'a Queue,
}

impl Growing<'_> {
    fn all(&self) -> Vec<&Swap> {
        self.first.into_iter().chain(self.group.swaps()).collect()
    }
}

impl Swaps for Growing<'_> {
    fn after(&mut self, count: usize, locked: bool) -> Option<&Swap> {
        let at = match (self.first, count) {
            (Some(first), 0) => return Some(first),
            (Some(_), count) => count - 1,
            (None, count) => count,
        };
        if self.group.swap(at).is_none() && locked {
            self.queue.join(self.group);
        }
        self.group.swap(at)
    }
}

fn all(failure: &Failure, count: usize) -> Vec<Answer> {
    (0..count).map(|_| Err(failure.clone())).collect()
}

/// When a transaction takes the write lock.
#[derive(Clone, Copy)]
enum Lock {
    AtOnce,
    IfItWins,
}

/// A transaction that failed.
enum Failed {
    /// Before its commit: nothing was written.
    Nothing(Failure),
    /// In its commit: it may have been written.
    Unknown(Failure),
}

impl Writer {
    pub(crate) fn new(connection: Connection) -> Self {
        // Replaces SQLite's own checkpoint, which would run on the caller's time.
        connection.wal_hook(Some(|_: &Wal, pages| {
            LOG_PAGES.set(pages);
            Ok(())
        }));
        Self {
            connection,
            new_rows: 0,
            checkpoint_at: CHECKPOINT_AT,
            groups: 0,
        }
    }

    /// Carries out one swap, and takes the write lock only where it wins; then those that come
    /// meanwhile join it. Gives its answer, and theirs.
    pub(crate) fn alone(
        &mut self,
        clock: &dyn Clock,
        swap: &Swap,
        queue: &Queue,
        joined: &mut Group,
    ) -> (Answer, Vec<Answer>) {
        let mut swaps = Growing {
            first: Some(swap),
            group: joined,
            queue,
        };
        let mut answers = match self.transaction(Lock::IfItWins, clock, &mut swaps) {
            Ok(answers) => answers,
            // Another process is writing, or wrote since this one read: that has to be waited for.
            Err(Failed::Nothing(_)) => self.commit(clock, &swaps.all()),
            Err(Failed::Unknown(failure)) => all(&failure, swaps.all().len()),
        };
        // One for each swap.
        let own = match answers.is_empty() {
            true => Err(Failure::Waited),
            false => answers.remove(0),
        };
        (own, answers)
    }

    /// Carries out the group's swaps, and those that come meanwhile, and commits them together.
    pub(crate) fn group(
        &mut self,
        clock: &dyn Clock,
        queue: &Queue,
        group: &mut Group,
    ) -> Vec<Answer> {
        let mut swaps = Growing {
            first: None,
            group,
            queue,
        };
        match self.transaction(Lock::AtOnce, clock, &mut swaps) {
            Ok(answers) => answers,
            Err(failed) => self.failed(failed, clock, &swaps.all()),
        }
    }

    /// Carries out the swaps in their order and commits them together.
    fn commit(&mut self, clock: &dyn Clock, swaps: &[&Swap]) -> Vec<Answer> {
        match self.transaction(Lock::AtOnce, clock, &mut { swaps }) {
            Ok(answers) => answers,
            Err(failed) => self.failed(failed, clock, swaps),
        }
    }

    /// Where one of them failed, nothing of the group was written yet: each is then tried alone, so
    /// that none fails for another's sake.
    fn failed(&mut self, failed: Failed, clock: &dyn Clock, swaps: &[&Swap]) -> Vec<Answer> {
        match failed {
            Failed::Unknown(failure) => all(&failure, swaps.len()),
            Failed::Nothing(failure) if failure.kind() == Kind::Busy => all(&failure, swaps.len()),
            Failed::Nothing(_) if swaps.len() > 1 => {
                let mut answers = Vec::with_capacity(swaps.len());
                for swap in swaps {
                    answers.append(&mut self.commit(clock, &[swap]));
                }
                answers
            }
            Failed::Nothing(failure) => match failure.kind() {
                Kind::Full if self.make_room(clock) => {
                    match self.transaction(Lock::AtOnce, clock, &mut { swaps }) {
                        Ok(answers) => answers,
                        Err(Failed::Nothing(failure) | Failed::Unknown(failure)) => {
                            all(&failure, swaps.len())
                        }
                    }
                }
                _ => all(&failure, swaps.len()),
            },
        }
    }

    /// Removes slots that are gone, in one transaction that looks at so many rows at most.
    pub(crate) fn purge(&mut self, clock: &dyn Clock, rows: u32) -> Result<Collected, Failure> {
        self.begin("BEGIN IMMEDIATE")?;
        let collected = row::collect(&self.connection, clock.now(), rows);
        match collected {
            Ok(collected) => match row::run(&self.connection, "COMMIT") {
                Ok(()) => Ok(collected),
                Err(failure) => self.rolled_back(failure),
            },
            Err(failure) => self.rolled_back(failure),
        }
    }

    /// What is due after a commit.
    pub(crate) fn due(&mut self) -> Chores {
        let pages = LOG_PAGES.get();
        let mut due = Chores::default();
        if self.new_rows >= PURGE_EVERY {
            self.new_rows = 0;
            due.purge = true;
        }
        if (1..CHECKPOINT_AT).contains(&pages) {
            self.checkpoint_at = CHECKPOINT_AT;
        } else if pages >= self.checkpoint_at {
            // Where a reader of another process holds the log back: not again at each commit.
            self.checkpoint_at = pages.saturating_add(AGAIN_AFTER);
            due.checkpoint = true;
            due.restart = pages >= LONG;
        }
        due
    }

    /// Does what can be done between groups. It is tried again later where it fails: no caller's
    /// answer depends on it.
    pub(crate) fn chores(&mut self, clock: &dyn Clock, chores: Chores) {
        if chores.restart {
            let _ = self.restart_log();
        } else if chores.checkpoint {
            let _ = checkpoint(&self.connection);
        }
        if chores.purge && row::is_any_due(&self.connection, clock.now()).unwrap_or(false) {
            let _ = self.purge(clock, PURGE_ROWS);
        }
    }

    /// How many transactions were committed that wrote.
    pub(crate) fn groups(&self) -> u64 {
        self.groups
    }

    fn transaction(
        &mut self,
        lock: Lock,
        clock: &dyn Clock,
        swaps: &mut dyn Swaps,
    ) -> Result<Vec<Answer>, Failed> {
        let begin = match lock {
            Lock::IfItWins => "BEGIN",
            Lock::AtOnce => "BEGIN IMMEDIATE",
        };
        LOG_PAGES.set(0);
        self.begin(begin).map_err(Failed::Nothing)?;
        let mut answers = Vec::new();
        let (mut new_rows, mut wrote) = (0, false);
        let mut statements = Statements::of(&self.connection);
        loop {
            // Nobody joins what has only read, since others may have written meanwhile.
            let locked = wrote || matches!(lock, Lock::AtOnce);
            let Some(swap) = swaps.after(answers.len(), locked) else {
                break;
            };
            match statements.carry_out(clock, swap) {
                Ok(done) => {
                    new_rows += u64::from(done.new_row);
                    wrote |= done.wrote;
                    answers.push(Ok(done.reply));
                }
                // Nothing was written for it, and the others do not depend on it.
                Err(failure @ Failure::Row(_)) => answers.push(Err(failure)),
                Err(failure) => return self.rolled_back(failure).map_err(Failed::Nothing),
            }
        }
        match row::run(&self.connection, "COMMIT") {
            Ok(()) => {
                self.new_rows += new_rows;
                self.groups += u64::from(wrote);
                Ok(answers)
            }
            Err(failure) => self.rolled_back(failure).map_err(Failed::Unknown),
        }
    }

    fn begin(&self, begin: &str) -> Result<(), Failure> {
        // Left open by a panic or by a rollback that failed: nobody was told of it.
        if !self.connection.is_autocommit() {
            row::run(&self.connection, "ROLLBACK")?;
        }
        row::run(&self.connection, begin)
    }

    /// Gives the failure; what cannot be rolled back now is before the next transaction.
    fn rolled_back<T>(&self, failure: Failure) -> Result<T, Failure> {
        if !self.connection.is_autocommit() {
            let _ = row::run(&self.connection, "ROLLBACK");
        }
        Err(failure)
    }

    fn restart_log(&self) -> Result<(), Failure> {
        Ok(self
            .connection
            .query_row("PRAGMA wal_checkpoint(RESTART)", [], |_| Ok(()))?)
    }

    fn make_room(&mut self, clock: &dyn Clock) -> bool {
        self.purge(clock, PURGE_ROWS)
            .is_ok_and(|collected| collected.gone > 0)
    }
}

/// Brings what it can of the log into the file, and waits for nobody.
pub(crate) fn checkpoint(connection: &Connection) -> Result<(), Failure> {
    Ok(connection.query_row("PRAGMA wal_checkpoint(PASSIVE)", [], |_| Ok(()))?)
}

thread_local! {
    /// What SQLite said in this thread's last transaction; 0 where that wrote nothing.
    static LOG_PAGES: Cell<i32> = const { Cell::new(0) };
}
