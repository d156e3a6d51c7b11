//! The file: how a connection is opened, what is refused, and the schema's versions.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rusqlite::config::DbConfig;
use rusqlite::{Connection, OpenFlags, TransactionBehavior};

use crate::error::{Failure, FileError, Kind};
use crate::options::{Durability, SqliteOptions};
use crate::row;

/// In each file's header: "idem", so that `file` and SQLite's tools tell it from other databases.
const APPLICATION_ID: i32 = 0x6964_656d;

/// Each brings the schema from the version that is its place in this list to the next. Version 0 is
/// an empty file. A migration that was published is never changed.
const MIGRATIONS: &[&str] = &[include_str!("schema/0001_slots.sql")];

/// Before 3.51.3 a checkpoint beside a write of another connection could lose the write.
const OLDEST: i32 = 3_051_003;

const PAGE_BYTES: i64 = 4096;

/// Where the connections go, and how they are set.
pub(crate) struct File {
    path: PathBuf,
    durability: Durability,
    busy_timeout: Duration,
    max_pages: Option<i64>,
}

impl File {
    /// Opens the file and brings its schema up to date; gives the connection that did it.
    pub(crate) fn open(
        path: &Path,
        options: &SqliteOptions,
    ) -> Result<(Self, Connection), Failure> {
        check_library(rusqlite::version_number(), rusqlite::version())?;
        let file = Self {
            // Absolute, so that later connections open the same file wherever the process moves,
            // and no path is taken for a URI or for `:memory:`.
            path: std::path::absolute(path)
                .map_err(|_| rusqlite::Error::InvalidPath(path.to_path_buf()))?,
            durability: options.durability,
            busy_timeout: options.busy_timeout,
            max_pages: options.max_bytes.map(pages),
        };
        if is_cut_off(&file.path) {
            return Err(FileError::CutOff.into());
        }
        let connection = file.patiently(|| file.first_connection(MIGRATIONS))?;
        Ok((file, connection))
    }

    /// A connection that only reads, and gives up at once where it would have to wait.
    pub(crate) fn reader(&self) -> Result<Connection, Failure> {
        let connection = self.connect(OpenFlags::empty())?;
        connection.pragma_update(None, "query_only", true)?;
        // Every commit of another connection empties it, which costs time for each page of it.
        connection.pragma_update(None, "cache_size", 64)?;
        row::prepare(&connection)?;
        connection.busy_timeout(Duration::ZERO)?;
        Ok(connection)
    }

    /// A connection for what is done beside the writes: it gives up at once as well.
    pub(crate) fn janitor(&self) -> Result<Connection, Failure> {
        let connection = self.connect(OpenFlags::empty())?;
        self.set_for_writing(&connection)?;
        connection.busy_timeout(Duration::ZERO)?;
        Ok(connection)
    }

    fn first_connection(&self, migrations: &[&str]) -> Result<Connection, Failure> {
        let mut connection = self.connect(OpenFlags::SQLITE_OPEN_CREATE)?;
        if connection.is_readonly(rusqlite::MAIN_DB)? {
            return Err(FileError::ReadOnly.into());
        }
        // Before anything is changed in it: is it ours? Read as one, since another may be making it.
        version(&*connection.transaction()?, migrations)?;
        connection.pragma_update(None, "page_size", PAGE_BYTES)?;
        let mode: String =
            connection.pragma_update_and_check(None, "journal_mode", "wal", |row| row.get(0))?;
        if mode != "wal" {
            return Err(FileError::NoLog { mode }.into());
        }
        self.set_for_writing(&connection)?;
        migrate(&mut connection, migrations)?;
        row::prepare(&connection)?;
        Ok(connection)
    }

    fn connect(&self, more: OpenFlags) -> Result<Connection, Failure> {
        // Each connection is used by one thread at a time, behind a lock of ours.
        let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX | more;
        let connection = Connection::open_with_flags(&self.path, flags)?;
        connection.busy_timeout(self.busy_timeout)?;
        connection.pragma_update(None, "mmap_size", 0)?;
        // The plans do not depend on the values, so no statement is prepared again for theirs.
        connection.set_db_config(DbConfig::SQLITE_DBCONFIG_ENABLE_QPSG, true)?;
        Ok(connection)
    }

    fn set_for_writing(&self, connection: &Connection) -> Result<(), Failure> {
        let synchronous = match self.durability {
            Durability::Power => "full",
            Durability::Process => "normal",
        };
        connection.pragma_update(None, "synchronous", synchronous)?;
        // On macOS fsync does not reach the disk, and this does. Elsewhere they do nothing.
        connection.pragma_update(None, "fullfsync", true)?;
        connection.pragma_update(None, "checkpoint_fullfsync", true)?;
        // In KiB. A commit that moved pages looks at each one in it, so more of it is not faster,
        // also where the index does not fit: the operating system has those pages.
        connection.pragma_update(None, "cache_size", -4096)?;
        connection.pragma_update(None, "journal_size_limit", 64 << 20)?;
        if let Some(pages) = self.max_pages {
            connection.pragma_update_and_check(None, "max_page_count", pages, |_| Ok(()))?;
        }
        Ok(())
    }

    /// Where two processes make one file, SQLite does not wait in every place where it could.
    fn patiently<T>(&self, mut open: impl FnMut() -> Result<T, Failure>) -> Result<T, Failure> {
        let started = Instant::now();
        loop {
            match open() {
                Err(failure)
                    if failure.kind() == Kind::Busy && started.elapsed() < self.busy_timeout =>
                {
                    std::thread::sleep(Duration::from_millis(2));
                }
                opened => return opened,
            }
        }
    }
}

/// Brings the schema up to date, in one transaction: all of it, or nothing.
fn migrate(connection: &mut Connection, migrations: &[&str]) -> Result<(), Failure> {
    let write = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    let found = version(&write, migrations)?;
    for migration in &migrations[found..] {
        write.execute_batch(migration)?;
    }
    write.pragma_update(None, "application_id", APPLICATION_ID)?;
    // Written even if it is the same: this commit syncs the log, and with it what a killed process
    // wrote there and did not live to sync. Nothing may be read that a power loss could take back.
    write.pragma_update(None, "user_version", migrations.len() as i64)?;
    Ok(write.commit()?)
}

/// How many of the migrations the file has behind it.
fn version(connection: &Connection, migrations: &[&str]) -> Result<usize, Failure> {
    // In one statement: read one after the other, they would be those of two moments while
    // another process makes the file.
    let (owner, found, tables): (i64, i64, i64) = connection.query_row(
        "SELECT (SELECT application_id FROM pragma_application_id),
                (SELECT user_version FROM pragma_user_version),
                (SELECT count(*) FROM sqlite_schema)",
        [],
        |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)),
    )?;
    if owner != i64::from(APPLICATION_ID) {
        return match (owner, found, tables) {
            (0, 0, 0) => Ok(0),
            _ => Err(FileError::Foreign.into()),
        };
    }
    match usize::try_from(found) {
        Ok(found) if found <= migrations.len() => Ok(found),
        _ => {
            let known = migrations.len() as i64;
            Err(FileError::Newer { found, known }.into())
        }
    }
}

/// SQLite counts pages in 32 bits; fewer than 16 hold no more than the schema.
fn pages(bytes: u64) -> i64 {
    (bytes / PAGE_BYTES as u64).clamp(16, u64::from(u32::MAX - 1)) as i64
}

fn check_library(number: i32, name: &str) -> Result<(), FileError> {
    match number < OLDEST {
        true => Err(FileError::OldLibrary { found: name.into() }),
        false => Ok(()),
    }
}

/// An empty file is a new one to SQLite, which would throw its log away. Only asks for lengths:
/// whoever opened and closed the file here would give up all locks that this process has on it.
fn is_cut_off(path: &Path) -> bool {
    let length = |path: &Path| std::fs::metadata(path).map_or(0, |found| found.len());
    let mut log = path.as_os_str().to_owned();
    log.push("-wal");
    // The log first: a file that is made meanwhile has its first page before it has a log.
    length(Path::new(&log)) > 0 && path.exists() && length(path) == 0
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A file in a folder of its own, and what goes with it.
    fn file(name: &str) -> (PathBuf, File) {
        let folder = format!("idemp-sqlite-file-{}-{name}", std::process::id());
        let folder = std::env::temp_dir().join(folder);
        let _ = std::fs::remove_dir_all(&folder);
        std::fs::create_dir(&folder).unwrap();
        let (path, options) = (folder.join("idemp.db"), SqliteOptions::new());
        drop(File::open(&path, &options).unwrap());
        let (file, _) = File::open(&path, &options).unwrap();
        (folder, file)
    }

    fn number(connection: &Connection, sql: &str) -> i64 {
        connection.query_row(sql, [], |row| row.get(0)).unwrap()
    }

    const NEXT: &str = "ALTER TABLE slots ADD COLUMN note TEXT NOT NULL DEFAULT 'older'";

    #[test]
    fn a_file_of_an_older_version_is_upgraded_in_one_step_with_all_that_is_in_it() {
        let (folder, file) = file("older");
        let row = "INSERT INTO slots VALUES (1, 1, x'01', 1, 1, 1, zeroblob(16), x'', x'')";
        file.first_connection(MIGRATIONS)
            .unwrap()
            .execute_batch(row)
            .unwrap();
        let newer = [MIGRATIONS, &[NEXT, "CREATE TABLE more (n) STRICT; garbage"]].concat();
        assert!(file.first_connection(&newer).is_err());
        let as_it_was = file.first_connection(MIGRATIONS).unwrap();
        assert_eq!(
            number(&as_it_was, "PRAGMA user_version"),
            1,
            "all steps or none"
        );
        drop(as_it_was);

        for _ in 0..2 {
            let upgraded = file.first_connection(&newer[..2]).unwrap();
            assert_eq!(number(&upgraded, "PRAGMA user_version"), 2);
            let kept = "SELECT count(*) FROM slots WHERE note = 'older'";
            assert_eq!(number(&upgraded, kept), 1);
        }
        let failure = file.first_connection(MIGRATIONS).unwrap_err();
        assert!(matches!(
            failure,
            Failure::File(FileError::Newer { found: 2, known: 1 })
        ));
        std::fs::remove_dir_all(folder).unwrap();
    }

    #[test]
    fn every_connection_that_writes_is_set_to_last() {
        let (folder, file) = file("set");
        for connection in [
            file.first_connection(MIGRATIONS).unwrap(),
            file.janitor().unwrap(),
        ] {
            assert_eq!(number(&connection, "PRAGMA synchronous"), 2, "FULL");
            assert_eq!(number(&connection, "PRAGMA fullfsync"), 1);
            assert_eq!(number(&connection, "PRAGMA checkpoint_fullfsync"), 1);
            assert_eq!(number(&connection, "PRAGMA page_size"), 4096);
        }
        let reader = file.reader().unwrap();
        assert_eq!(number(&reader, "PRAGMA mmap_size"), 0);
        assert!(reader.execute_batch("DELETE FROM slots").is_err());
        std::fs::remove_dir_all(folder).unwrap();
    }

    #[test]
    fn a_library_with_the_fault_in_its_log_is_refused_and_says_which_it_is() {
        assert!(check_library(3_051_003, "3.51.3").is_ok());
        let error = check_library(3_051_002, "3.51.2").unwrap_err();
        assert!(error.to_string().contains("3.51.2"));
        assert!(check_library(rusqlite::version_number(), rusqlite::version()).is_ok());
    }
}
