//! [`SqliteStore`]: the store itself, its threads and its end.

use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, MutexGuard, TryLockError};
use std::thread::JoinHandle;
use std::time::Duration;

use idemp::{AsyncStore, Clock, Expect, Rev, Store, StoreError, Swap, Swapped};
use rusqlite::Connection;

use crate::error::{Failure, FileError, Kind};
use crate::file::File;
use crate::options::SqliteOptions;
use crate::queue::{Answer, Awaited, Chores, Group, Next, Queue, Ticket};
use crate::row;
use crate::writer::{Writer, checkpoint};

/// Keeps slots in one SQLite file, which several processes may share.
///
/// Blocking and async: as a [`Store`] it commits on the caller's thread where nobody else is
/// writing; as an [`AsyncStore`] it never waits for the disk on the caller's thread, and needs no
/// runtime. Either way writes that meet are committed together, with one sync for all of them, and a
/// swap that loses writes nothing. A begin looks before it queues, so a replay only reads; a swap
/// that names a revision queues, and a late one waits there for its answer.
///
/// It has two threads, which end with it. Dropping it is [`SqliteStore::close`].
///
/// ```
/// use idemp::{Decision, Fingerprint, Idempotency, Key, Scope};
/// use idemp_sqlite::SqliteStore;
///
/// # let folder = std::env::temp_dir().join(format!("idemp-store-{}", std::process::id()));
/// # std::fs::create_dir_all(&folder)?;
/// let path = folder.join("idemp.db");
/// let (scope, key) = (Scope::new(["tenant-7"])?, Key::new("final-1769660861")?);
/// let request = Fingerprint::of_json(br#"{"prompt": "a cat"}"#);
///
/// let idem = Idempotency::new(SqliteStore::open(&path)?);
/// let Decision::Miss(mut lease) = idem.begin(&scope, &key, &request)? else { panic!("it is new") };
/// lease.finish("vt_4e80c173")?;
/// drop((lease, idem));
///
/// let after_a_restart = Idempotency::new(SqliteStore::open(&path)?);
/// let Decision::Hit(replay) = after_a_restart.begin(&scope, &key, &request)? else { panic!("it is known") };
/// assert_eq!(replay.json::<String>()?, "vt_4e80c173");
/// # drop(after_a_restart);
/// # std::fs::remove_dir_all(&folder)?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct SqliteStore {
    shared: Arc<Shared>,
    threads: Mutex<Vec<JoinHandle<()>>>,
}

struct Shared {
    queue: Queue,
    clock: Arc<dyn Clock>,
    /// Held by whoever leads. `None` once the store is closed.
    writer: Mutex<Option<Writer>>,
    readers: Box<[Mutex<Option<Connection>>]>,
    /// Asks the janitor for a checkpoint. `None` once the store is closed.
    janitor: Mutex<Option<SyncSender<()>>>,
    /// Held during a checkpoint beside the writes: SQLite would not wait for that one.
    checkpoint: Mutex<()>,
    patience: Duration,
    process: u32,
}

/// Rows that one transaction of [`SqliteStore::purge`] looks at: writers wait for it meanwhile.
const BATCH: u64 = 256;

impl SqliteStore {
    /// Opens the file with the default [`SqliteOptions`], and makes it where it does not exist.
    ///
    /// # Errors
    /// See [`SqliteOptions::open`].
    pub fn open(path: impl AsRef<Path>) -> Result<Self, StoreError> {
        SqliteOptions::new().open(path)
    }

    pub(crate) fn open_with(path: &Path, options: SqliteOptions) -> Result<Self, StoreError> {
        let (file, connection) = File::open(path, &options)?;
        let readers =
            std::thread::available_parallelism().map_or(2, |cores| cores.get().clamp(2, 8));
        let readers = (0..readers).map(|_| Ok(Mutex::new(Some(file.reader()?))));
        let (janitor, orders) = sync_channel(1);
        let shared = Arc::new(Shared {
            queue: Queue::new(options.queue, options.busy_timeout),
            clock: options.clock,
            writer: Mutex::new(Some(Writer::new(connection))),
            readers: readers.collect::<Result<_, Failure>>()?,
            janitor: Mutex::new(Some(janitor)),
            checkpoint: Mutex::default(),
            patience: options.busy_timeout,
            process: std::process::id(),
        });
        let mut store = Self {
            shared: shared.clone(),
            threads: Mutex::default(),
        };
        let janitor = file.janitor()?;
        store.start("idemp-janitor", move |shared| {
            tidy(shared, &orders, &janitor)
        })?;
        store.start("idemp-writer", write)?;
        Ok(store)
    }

    /// Removes at most `limit` slots that are gone, and gives how many it removed: all there were,
    /// if fewer than `limit`. Nothing goes before its time, also if it is claimed anew meanwhile.
    ///
    /// Not needed to keep the file small: writes remove what is gone, bit by bit. It works in
    /// short transactions; with a large `limit` it blocks for long, though no writer does.
    ///
    /// # Errors
    /// [`StoreError`]; what was removed by then stays removed.
    pub fn purge(&self, limit: u64) -> Result<u64, StoreError> {
        let mut gone = 0;
        while gone < limit {
            let rows = (limit - gone).min(BATCH);
            let collected = self.shared.purge(rows as u32)?;
            gone += collected.gone;
            if collected.looked_at < rows {
                break;
            }
        }
        Ok(gone)
    }

    /// How many transactions this store has committed that wrote: with
    /// [`Durability::Power`](crate::Durability) so many times it waited for the disk.
    #[must_use]
    pub fn commits(&self) -> u64 {
        let writer = lock(&self.shared.writer);
        writer.as_ref().map_or(0, Writer::groups)
    }

    /// Waits until what is queued is committed and answered, and closes the file. May be called
    /// twice. Whatever is asked afterwards fails with [`StoreError::Closed`].
    pub fn close(&self) {
        if self.shared.is_forked() {
            return;
        }
        self.shared.queue.close();
        drop(lock(&self.shared.janitor).take());
        for thread in std::mem::take(&mut *lock(&self.threads)) {
            // A panic there was caught, and told to those who waited.
            let _ = thread.join();
        }
        for reader in &self.shared.readers {
            drop(lock(reader).take());
        }
        // Last, since it brings the log into the file and removes it.
        drop(lock(&self.shared.writer).take());
    }

    fn start(
        &mut self,
        name: &str,
        work: impl FnOnce(&Shared) + Send + 'static,
    ) -> Result<(), StoreError> {
        let shared = self.shared.clone();
        let thread = std::thread::Builder::new()
            .name(name.into())
            .spawn(move || work(&shared))
            .map_err(StoreError::unavailable)?;
        lock(&self.threads).push(thread);
        Ok(())
    }
}

impl Store for SqliteStore {
    fn swap(&self, swap: &Swap) -> Result<Swapped, StoreError> {
        Ok(self.shared.swap(swap)?)
    }
}

impl AsyncStore for SqliteStore {
    async fn swap(&self, swap: &Swap) -> Result<Swapped, StoreError> {
        let ticket = match self.shared.ask_or_enter(swap)? {
            Asked::Lost(reply) => return Ok(reply),
            Asked::Entered(ticket) => ticket,
        };
        Ok(Awaited(ticket).await?)
    }
}

impl Drop for SqliteStore {
    fn drop(&mut self) {
        self.close();
    }
}

impl fmt::Debug for SqliteStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SqliteStore").finish_non_exhaustive()
    }
}

enum Asked {
    Lost(Swapped),
    Entered(Arc<Ticket>),
}

impl Shared {
    fn swap(&self, swap: &Swap) -> Answer {
        self.check_process()?;
        if let Some(lead) = self.queue.lead()? {
            let mut joined = Group::default();
            let (answer, answers, due) = self.alone(swap, &mut joined)?;
            drop(lead);
            joined.answer(answers);
            self.see_to(due);
            return answer;
        }
        match self.ask_or_enter(swap)? {
            Asked::Lost(reply) => Ok(reply),
            // Its own patience, that of the group before it, and a slow disk.
            Asked::Entered(ticket) => ticket.wait(self.patience * 3 + Duration::from_secs(10)),
        }
    }

    /// On the writer's own connection, which has the pages at hand.
    fn alone(
        &self,
        swap: &Swap,
        joined: &mut Group,
    ) -> Result<(Answer, Vec<Answer>, Chores), Failure> {
        let mut writer = lock(&self.writer);
        let writer = writer.as_mut().ok_or(Failure::Closed)?;
        let (answer, answers) = writer.alone(&self.clock, swap, &self.queue, joined);
        Ok((answer, answers, writer.due()))
    }

    fn ask_or_enter(&self, swap: &Swap) -> Result<Asked, Failure> {
        self.check_process()?;
        // Who names a revision holds the slot, save one that is late: it is not asked for twice.
        if matches!(swap.expect, Expect::Rev(rev) if rev != Rev::NIL) {
            return Ok(Asked::Entered(self.queue.enter(swap)?));
        }
        let asked = {
            let reader = self.reader();
            let reader = reader.as_ref().ok_or(Failure::Closed)?;
            row::ask(reader, &self.clock, swap)
        };
        match asked {
            Ok(Some(reply)) => Ok(Asked::Lost(reply)),
            Ok(None) => Ok(Asked::Entered(self.queue.enter(swap)?)),
            // Another process repairs the log: the writer waits for it, this thread does not.
            Err(failure) if failure.kind() == Kind::Busy => {
                Ok(Asked::Entered(self.queue.enter(swap)?))
            }
            Err(failure) => Err(failure),
        }
    }

    fn purge(&self, rows: u32) -> Result<row::Collected, Failure> {
        self.check_process()?;
        let mut writer = lock(&self.writer);
        let writer = writer.as_mut().ok_or(Failure::Closed)?;
        writer.purge(&self.clock, rows)
    }

    fn see_to(&self, due: Chores) {
        if due.checkpoint {
            if let Some(janitor) = &*lock(&self.janitor) {
                // One that is ordered already will do.
                let _ = janitor.try_send(());
            }
        }
        if due.purge || due.restart {
            self.queue.ask_for(Chores {
                checkpoint: false,
                ..due
            });
        }
    }

    /// One that is free; where none is, one that soon will be.
    fn reader(&self) -> MutexGuard<'_, Option<Connection>> {
        for reader in &self.readers {
            match reader.try_lock() {
                Ok(reader) => return reader,
                Err(TryLockError::Poisoned(poisoned)) => return poisoned.into_inner(),
                Err(TryLockError::WouldBlock) => {}
            }
        }
        lock(&self.readers[0])
    }

    fn check_process(&self) -> Result<(), Failure> {
        match self.is_forked() {
            true => Err(FileError::Forked.into()),
            false => Ok(()),
        }
    }

    fn is_forked(&self) -> bool {
        self.process != std::process::id()
    }
}

impl Drop for Shared {
    fn drop(&mut self) {
        if self.is_forked() {
            // To close them would meddle with the locks and the log of the process that has them.
            for reader in &self.readers {
                std::mem::forget(lock(reader).take());
            }
            std::mem::forget(lock(&self.writer).take());
        }
    }
}

/// The writer's thread.
fn write(shared: &Shared) {
    loop {
        let next = shared.queue.next();
        if matches!(next, Next::Stop) {
            return;
        }
        // A panic (of a clock, say) leaves a group without an answer, which its drop tells.
        let _ = catch_unwind(AssertUnwindSafe(|| write_next(shared, next)));
    }
}

fn write_next(shared: &Shared, next: Next) {
    let mut writer = lock(&shared.writer);
    let Some(writer) = writer.as_mut() else {
        return;
    };
    match next {
        Next::Group(mut group) => {
            let answers = writer.group(&shared.clock, &shared.queue, &mut group);
            group.answer(answers);
            shared.see_to(writer.due());
        }
        Next::Chores(chores) => {
            let _done = chores.restart.then(|| lock(&shared.checkpoint));
            writer.chores(&shared.clock, chores);
        }
        Next::Stop => {}
    }
}

/// The janitor's thread: the most of a checkpoint runs beside the writes. What they add meanwhile
/// is left to the writer, which has it done in a moment; then the log begins anew.
fn tidy(shared: &Shared, orders: &Receiver<()>, connection: &Connection) {
    while orders.recv().is_ok() {
        let running = lock(&shared.checkpoint);
        let _ = checkpoint(connection);
        drop(running);
        shared.queue.ask_for(Chores {
            checkpoint: true,
            ..Chores::default()
        });
    }
}

/// Nothing that is kept behind these locks is left half done by a panic.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex
        .lock()
        .unwrap_or_else(|poisoned| poisoned.into_inner())
}
