//! A table of its own for each test, in the server that the tests of a process share.

#![allow(dead_code, unreachable_pub)] // each test file uses a part

pub mod trips;

use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use idemp::{
    AsyncLease, AsyncStore, Decision, Entropy, Expect, Fingerprint, Head, Idempotency, Key,
    LeaseToken, NewSlot, Put, Rev, Scope, Slot, SlotKey, StoreError, Swap, Swapped, SystemEntropy,
    Verdict,
};
use idemp_postgres::tokio_postgres::{Client, NoTls};
use idemp_postgres::{Locking, PostgresOptions, PostgresStore, Transaction, Within};
use idemp_servers::Postgres;

/// A table that no other test knows.
pub struct Place {
    pub table: String,
    pub server: &'static Postgres,
}

impl Place {
    pub fn new() -> Self {
        Self::on(Postgres::shared())
    }

    pub fn on(server: &'static Postgres) -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let table = format!("keys_{}", COUNT.fetch_add(1, Ordering::Relaxed));
        Self { table, server }
    }

    /// By the table's owner, who is no superuser.
    pub fn options(&self) -> PostgresOptions {
        PostgresStore::options(&self.server.url()).table(&self.table)
    }

    /// Migrated.
    pub async fn store(&self) -> PostgresStore {
        let store = self.options().open().unwrap();
        store.migrate().await.unwrap();
        store
    }

    /// By the table's owner.
    pub async fn client(&self) -> Client {
        connect(&self.server.url()).await
    }

    /// As the superuser.
    pub fn sql(&self, statements: &str) -> String {
        self.server.sql(&statements.replace("KEYS", &self.table))
    }
}

pub async fn connect(url: &str) -> Client {
    let (client, connection) = idemp_postgres::tokio_postgres::connect(url, NoTls)
        .await
        .unwrap();
    tokio::spawn(connection);
    client
}

pub fn scope() -> Scope {
    Scope::new(["tenant-1", "POST /orders"]).unwrap()
}

pub fn key(name: &str) -> Key {
    Key::new(name).unwrap()
}

pub fn payload() -> Fingerprint {
    Fingerprint::from_parts(Fingerprint::VERSION, [1; 32])
}

pub fn slot(name: &str) -> SlotKey {
    SlotKey::new(&scope(), &key(name))
}

pub fn fresh() -> Rev {
    Rev::from_bytes(SystemEntropy.bytes())
}

pub const MINUTE: Duration = Duration::from_secs(60);

/// A lease for a minute, kept for an hour.
pub fn put(rev: Rev, body: &[u8]) -> Put {
    put_for(rev, MINUTE, 60 * MINUTE, body)
}

pub fn put_for(rev: Rev, lease_for: Duration, keep_for: Duration, body: &[u8]) -> Put {
    let head = Head::from_bytes(b"head").unwrap();
    let body = body.into();
    Put::Slot(NewSlot {
        rev,
        lease_for,
        keep_for,
        head,
        body,
    })
}

pub async fn ask(store: &impl AsyncStore, slot: SlotKey, expect: Expect, put: Put) -> Swapped {
    store.swap(&Swap { slot, expect, put }).await.unwrap()
}

pub async fn read(store: &impl AsyncStore, slot: SlotKey) -> Option<Slot> {
    match store.swap(&Swap::read(slot)).await.unwrap().verdict {
        Verdict::Lost(slot) => slot,
        Verdict::Won => panic!("reading wins nothing"),
    }
}

pub async fn begin(
    idem: &Idempotency<PostgresStore>,
    name: &str,
) -> Decision<AsyncLease<PostgresStore>> {
    idem.begin_async(&scope(), &key(name), &payload())
        .await
        .unwrap()
}

pub async fn miss(idem: &Idempotency<PostgresStore>, name: &str) -> AsyncLease<PostgresStore> {
    match begin(idem, name).await {
        Decision::Miss(lease) => lease,
        other => panic!("a miss, not {other:?}"),
    }
}

/// Of the store inside a transaction.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// Writes a lease.
    Within,
    /// Writes none.
    Locking,
}

pub const FORMS: [Form; 2] = [Form::Within, Form::Locking];

impl Form {
    pub fn of<'t>(
        self,
        store: &'t PostgresStore,
        transaction: impl Into<Transaction<'t>>,
    ) -> Inside<'t> {
        match self {
            Self::Within => Inside::Within(store.within(transaction)),
            Self::Locking => Inside::Locking(store.locking(transaction)),
        }
    }
}

/// The store inside a transaction, in one of its forms.
pub enum Inside<'t> {
    Within(Within<'t>),
    Locking(Locking<'t>),
}

impl AsyncStore for Inside<'_> {
    async fn swap(&self, swap: &Swap) -> Result<Swapped, StoreError> {
        match self {
            Self::Within(store) => store.swap(swap).await,
            Self::Locking(store) => store.swap(swap).await,
        }
    }
}

pub async fn begin_in(
    idem: &Idempotency<PostgresStore>,
    transaction: &impl AsyncStore,
    name: &str,
) -> Decision {
    idem.begin_in(transaction, &scope(), &key(name), &payload())
        .await
        .unwrap()
}

pub async fn miss_in(
    idem: &Idempotency<PostgresStore>,
    transaction: &impl AsyncStore,
    name: &str,
) -> LeaseToken {
    match begin_in(idem, transaction, name).await {
        Decision::Miss(lease) => lease,
        other => panic!("a miss, not {other:?}"),
    }
}

/// Until the condition holds: what is waited for is seen by others, not signalled.
pub async fn until<F: Future<Output = bool>>(what: &str, mut holds: impl FnMut() -> F) {
    let started = std::time::Instant::now();
    while !holds().await {
        assert!(started.elapsed() < MINUTE, "it never came that {what}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}
