//! [`PostgresOptions`]: how a [`PostgresStore`] is opened.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use deadpool_postgres::{Manager, ManagerConfig, Pool, RecyclingMethod, Runtime};
use idemp::StoreError;
use tokio_postgres::{Config, NoTls};

use crate::names::Names;
use crate::store::PostgresStore;

/// How a [`PostgresStore`] is opened.
///
/// ```
/// use std::time::Duration;
/// use idemp_postgres::PostgresStore;
///
/// let store = PostgresStore::options("postgres://payments@localhost/payments")
///     .schema("payments")
///     .connections(16)
///     .timeout(Duration::from_secs(2))
///     .open()?; // connects when it is first asked
/// # Ok::<(), idemp::StoreError>(())
/// ```
#[must_use]
pub struct PostgresOptions {
    url: String,
    schema: String,
    table: String,
    connections: usize,
    timeout: Duration,
    lock_wait: Duration,
    commit: Commit,
    pooled_transactions: bool,
    #[cfg(feature = "tls")]
    tls: Option<rustls::ClientConfig>,
}

/// What an acknowledged answer has survived when it comes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Commit {
    /// The commit waits for the server's disk, and for its synchronous standbys where it has any
    /// (`synchronous_commit = on`), whatever the server's, the database's or the role's default.
    #[default]
    Durable,
    /// The commit does not wait (`synchronous_commit = off`): a server that is killed or loses
    /// power forgets what it acknowledged in the last moments, about three times
    /// `wal_writer_delay`, leases included. **Requests can then execute twice.** For data that may
    /// be lost, and for benchmarks.
    Relaxed,
}

impl PostgresOptions {
    pub(crate) fn new(url: &str) -> Self {
        Self {
            url: url.into(),
            schema: "public".into(),
            table: "idempotency_keys".into(),
            connections: 16,
            timeout: Duration::from_secs(5),
            lock_wait: Duration::from_secs(1),
            commit: Commit::Durable,
            pooled_transactions: false,
            #[cfg(feature = "tls")]
            tls: None,
        }
    }

    /// The schema of the table: `public` by default. It matches `[a-z_][a-z0-9_]*`, and is there.
    pub fn schema(mut self, schema: &str) -> Self {
        self.schema = schema.into();
        self
    }

    /// The table: `idempotency_keys` by default. It matches `[a-z_][a-z0-9_]*` and has at most 48
    /// bytes.
    pub fn table(mut self, table: &str) -> Self {
        self.table = table.into();
        self
    }

    /// The most connections, at least 1; 16 by default.
    pub fn connections(mut self, connections: usize) -> Self {
        self.connections = connections;
        self
    }

    /// How long each step of a question may take: waiting for a free connection, connecting, the
    /// answer; 5 seconds by default, at least a millisecond.
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }

    /// How long a question waits for another transaction that holds its record: a second by
    /// default, at least a millisecond, and no longer than the timeout. Then `begin` answers
    /// `InProgress`, also inside a transaction.
    pub fn lock_wait(mut self, lock_wait: Duration) -> Self {
        self.lock_wait = lock_wait;
        self
    }

    /// What an acknowledged answer has survived; [`Commit::Durable`] by default. Inside a
    /// transaction of the caller's it is always that.
    pub fn commit(mut self, commit: Commit) -> Self {
        self.commit = commit;
        self
    }

    /// For a pooler that gives every transaction another server connection, such as PgBouncer
    /// with `pool_mode = transaction`: no settings are made at connect, and no statement is
    /// prepared beyond its own trip.
    pub fn pooled_transactions(mut self) -> Self {
        self.pooled_transactions = true;
        self
    }

    /// Talks TLS, and checks the server by this configuration. Say `sslmode=require` in the
    /// address, or a server without TLS is talked to in plain text.
    #[cfg(feature = "tls")]
    pub fn tls(mut self, tls: rustls::ClientConfig) -> Self {
        self.tls = Some(tls);
        self
    }

    /// Opens the store. It connects when it is first asked.
    ///
    /// # Errors
    /// [`StoreError::Unusable`] where the address, a name or a number is not what it has to be.
    pub fn open(self) -> Result<PostgresStore, StoreError> {
        let names = Names::new(self.schema, self.table).map_err(StoreError::unusable)?;
        let least = Duration::from_millis(1);
        let most = Duration::from_secs(3600);
        if self.connections == 0 {
            return Err(StoreError::unusable("a store needs a connection"));
        }
        if self.timeout < least || self.timeout > most {
            return Err(StoreError::unusable("a timeout is a millisecond to an hour"));
        }
        if self.lock_wait < least || self.lock_wait > self.timeout {
            return Err(StoreError::unusable(
                "a wait for a lock is at least a millisecond and at most the timeout",
            ));
        }
        // The driver's error would not quote the address, but need not be trusted with it.
        let mut config = Config::from_str(&self.url)
            .map_err(|_| StoreError::unusable("the address is no connection string"))?;
        if !self.pooled_transactions {
            let ours = settings(self.commit, self.timeout, self.lock_wait);
            config.options(match config.get_options() {
                Some(theirs) => format!("{theirs} {ours}"),
                None => ours,
            });
        }
        if config.get_application_name().is_none() {
            config.application_name("idemp");
        }
        let recycling = ManagerConfig {
            recycling_method: RecyclingMethod::Fast,
        };
        #[cfg(feature = "tls")]
        let manager = match self.tls {
            Some(tls) => {
                let tls = tokio_postgres_rustls::MakeRustlsConnect::new(tls);
                Manager::from_config(config, tls, recycling)
            }
            None => Manager::from_config(config, NoTls, recycling),
        };
        #[cfg(not(feature = "tls"))]
        let manager = Manager::from_config(config, NoTls, recycling);
        let pool = Pool::builder(manager)
            .max_size(self.connections)
            .wait_timeout(Some(self.timeout))
            .create_timeout(Some(self.timeout))
            .recycle_timeout(Some(self.timeout))
            .runtime(Runtime::Tokio1)
            .build()
            .map_err(|_| StoreError::unusable("the pool cannot be built"))?;
        Ok(PostgresStore::new(
            pool,
            names,
            self.timeout,
            self.lock_wait,
            self.commit,
            self.pooled_transactions,
        ))
    }
}

/// What a new connection is told in its first message. The isolation is the one that the functions
/// are written for; the server's default may be another.
fn settings(commit: Commit, timeout: Duration, lock_wait: Duration) -> String {
    let commit = match commit {
        Commit::Durable => "on",
        Commit::Relaxed => "off",
    };
    format!(
        "-c synchronous_commit={commit} -c default_transaction_isolation=read\\ committed \
         -c statement_timeout={} -c lock_timeout={}",
        timeout.as_millis(),
        lock_wait.as_millis(),
    )
}

/// Without the address, which may hold a password.
impl fmt::Debug for PostgresOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PostgresOptions")
            .field("schema", &self.schema)
            .field("table", &self.table)
            .field("connections", &self.connections)
            .field("timeout", &self.timeout)
            .field("lock_wait", &self.lock_wait)
            .field("commit", &self.commit)
            .finish_non_exhaustive()
    }
}
