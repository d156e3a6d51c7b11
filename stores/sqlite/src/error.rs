//! How SQLite's errors become a [`StoreError`]: each is one of its kinds, and none is "vacant".

use std::sync::Arc;

use idemp::{Cause, StoreError};
use rusqlite::ErrorCode;
use thiserror::Error;

/// What went wrong, to be told to every caller of a group.
#[derive(Debug, Clone, Error)]
pub(crate) enum Failure {
    #[error(transparent)]
    Sqlite(Arc<rusqlite::Error>),
    /// A row that this crate did not write, or that was damaged since.
    #[error("a record's {0} is damaged")]
    Row(&'static str),
    #[error(transparent)]
    File(FileError),
    #[error(transparent)]
    QueueFull(QueueFull),
    #[error("the swap waited for too long")]
    Waited,
    #[error("the store is closed")]
    Closed,
}

impl Failure {
    pub(crate) fn kind(&self) -> Kind {
        match self {
            Self::Sqlite(error) => Kind::of(error),
            Self::Row(_) | Self::File(FileError::Foreign | FileError::CutOff) => Kind::Corrupt,
            Self::File(_) => Kind::Unusable,
            Self::QueueFull(_) => Kind::Unavailable,
            Self::Waited => Kind::Busy,
            Self::Closed => Kind::Closed,
        }
    }
}

impl From<rusqlite::Error> for Failure {
    fn from(error: rusqlite::Error) -> Self {
        Self::Sqlite(Arc::new(error))
    }
}

impl From<FileError> for Failure {
    fn from(error: FileError) -> Self {
        Self::File(error)
    }
}

impl From<Failure> for StoreError {
    fn from(failure: Failure) -> Self {
        match failure.kind() {
            Kind::Busy => Self::Timeout,
            Kind::Full => Self::Full,
            Kind::Closed => Self::Closed,
            Kind::Corrupt => Self::corrupt(failure.cause()),
            Kind::Unusable => Self::unusable(failure.cause()),
            Kind::Unavailable => Self::unavailable(failure.cause()),
        }
    }
}

impl Failure {
    /// What a caller can look into: the public errors as themselves.
    fn cause(self) -> Cause {
        match self {
            Self::File(error) => error.into(),
            Self::QueueFull(error) => error.into(),
            other => other.into(),
        }
    }
}

/// The kinds of [`StoreError`] that SQLite causes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Another process held the lock for too long.
    Busy,
    /// No room on the disk, or within the bound on the file's size.
    Full,
    Corrupt,
    Unusable,
    Unavailable,
    Closed,
}

impl Kind {
    fn of(error: &rusqlite::Error) -> Self {
        use rusqlite::Error as E;
        match error {
            E::InvalidColumnType(..) => Self::Corrupt,
            // Prepared against this file: what it names is not there.
            E::SqlInputError { .. } | E::InvalidPath(_) | E::NulError(_) => Self::Unusable,
            other => match other.sqlite_error_code() {
                Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => Self::Busy,
                Some(ErrorCode::DiskFull) => Self::Full,
                Some(
                    ErrorCode::DatabaseCorrupt
                    | ErrorCode::NotADatabase
                    | ErrorCode::ConstraintViolation
                    | ErrorCode::TypeMismatch,
                ) => Self::Corrupt,
                Some(
                    ErrorCode::ReadOnly
                    | ErrorCode::CannotOpen
                    | ErrorCode::PermissionDenied
                    | ErrorCode::AuthorizationForStatementDenied
                    | ErrorCode::TooBig
                    | ErrorCode::NoLargeFileSupport,
                ) => Self::Unusable,
                _ => Self::Unavailable,
            },
        }
    }
}

/// Why a file cannot be used. The cause of [`StoreError::Unusable`] and [`StoreError::Corrupt`].
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum FileError {
    /// The SQLite that is linked has faults that lose data where several connections share a file.
    #[error("SQLite {found} is linked, and 3.51.3 is the oldest that is safe; use the bundled one")]
    OldLibrary {
        /// Its version.
        found: String,
    },
    /// The file was written by a newer version of this crate.
    #[error("the file has schema version {found}, this build knows up to {known}; update it")]
    Newer {
        /// The file's version.
        found: i64,
        /// The newest version that this build knows.
        known: i64,
    },
    /// A database of somebody else: it has tables, and not this crate's mark.
    #[error("the file is a database of another application")]
    Foreign,
    /// The file, or the folder that it lies in, cannot be written.
    #[error("the file is read-only")]
    ReadOnly,
    /// The file is empty and its log is not: it was cut off.
    #[error("the file is empty, but its write-ahead log is not; it was cut off or replaced")]
    CutOff,
    /// The write-ahead log cannot be used here, as on a network file system.
    #[error("the file cannot use a write-ahead log, its journal mode is {mode:?}")]
    NoLog {
        /// The journal mode that SQLite stays with.
        mode: String,
    },
    /// The process forked after the store was opened; a connection must not be carried over.
    #[error("the store was opened before this process was forked; open it in this process")]
    Forked,
}

/// More swaps wait than [`SqliteOptions::queue`](crate::SqliteOptions::queue) allows. The cause of
/// a [`StoreError::Unavailable`]; the swap was not carried out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("more writes are waiting than the queue holds")]
pub struct QueueFull;
