//! [`PostgresError`], and what each error of the server means to a caller.

use std::error::Error as _;
use std::fmt;

use deadpool_postgres::PoolError;
use idemp::StoreError;
use tokio_postgres::error::{Error, SqlState};

/// What PostgreSQL, or the way to it, said: the cause of a [`StoreError`].
///
/// It holds the server's message and its SQLSTATE, and neither detail, hint nor context, which may
/// quote rows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PostgresError {
    code: Option<String>,
    message: String,
}

impl PostgresError {
    /// The SQLSTATE, five characters, where the server answered.
    #[must_use]
    pub fn code(&self) -> Option<&str> {
        self.code.as_deref()
    }

    fn new(error: &Error) -> Self {
        match error.as_db_error() {
            Some(error) => Self {
                code: Some(error.code().code().to_string()),
                message: error.message().to_string(),
            },
            None => Self {
                code: None,
                // The text of the driver, and what lay below: a broken pipe, a refused connection,
                // a certificate.
                message: match error.source() {
                    Some(cause) => format!("{error}: {cause}"),
                    None => error.to_string(),
                },
            },
        }
    }

    fn advising(mut self, advice: &str) -> Self {
        self.message = format!("{}; {advice}", self.message);
        self
    }
}

impl fmt::Display for PostgresError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)?;
        match &self.code {
            Some(code) => write!(f, " (SQLSTATE {code})"),
            None => Ok(()),
        }
    }
}

impl std::error::Error for PostgresError {}

/// What an error of the driver means.
pub(crate) fn meaning(error: &Error) -> StoreError {
    let cause = PostgresError::new(error);
    let Some(state) = error.code() else {
        return StoreError::unavailable(cause);
    };
    let unusable = |advice| StoreError::unusable(cause.clone().advising(advice));
    match *state {
        SqlState::LOCK_NOT_AVAILABLE => StoreError::Busy,
        SqlState::QUERY_CANCELED => StoreError::Timeout,
        SqlState::DISK_FULL => StoreError::Full,
        SqlState::UNDEFINED_TABLE
        | SqlState::UNDEFINED_FUNCTION
        | SqlState::UNDEFINED_COLUMN
        | SqlState::INVALID_SCHEMA_NAME => {
            unusable("the table is missing or of another version, run migrate")
        }
        SqlState::READ_ONLY_SQL_TRANSACTION => unusable("connect to the writer, not to a standby"),
        SqlState::INSUFFICIENT_PRIVILEGE => {
            unusable("grant select, insert, update and delete on the table to this role")
        }
        SqlState::INVALID_PASSWORD | SqlState::INVALID_AUTHORIZATION_SPECIFICATION => {
            unusable("check the user and the password")
        }
        SqlState::INVALID_CATALOG_NAME => unusable("check the name of the database"),
        SqlState::UNTRANSLATABLE_CHARACTER => unusable("the database has to be encoded in UTF8"),
        SqlState::DATA_CORRUPTED | SqlState::INDEX_CORRUPTED => StoreError::corrupt(cause),
        // Too large for the server, wrong syntax or types: asking again does not help.
        _ if matches!(&state.code()[..2], "42" | "54" | "22") => StoreError::unusable(cause),
        // Lost connections, shutdown, too many connections, serialisation failures, deadlocks, an
        // aborted transaction, and whatever else may pass.
        _ => StoreError::unavailable(cause),
    }
}

/// Why there is no connection.
pub(crate) fn without_connection(error: PoolError) -> StoreError {
    match error {
        PoolError::Backend(error) => meaning(&error),
        PoolError::Timeout(_) => StoreError::Timeout,
        PoolError::Closed => StoreError::Closed,
        // Neither is used here.
        PoolError::NoRuntimeSpecified | PoolError::PostCreateHook(_) => {
            StoreError::Unavailable(None)
        }
    }
}

/// An answer that no version of the functions gives.
pub(crate) fn unreadable(error: &Error) -> StoreError {
    StoreError::corrupt(PostgresError::new(error))
}
