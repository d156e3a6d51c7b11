//! What several tests need.
#![allow(dead_code)]

use std::future::Future;
use std::path::{Path, PathBuf};
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll, Wake, Waker};
use std::thread::Thread;
use std::time::Duration;

use idemp::{
    AsyncStore, Body, Entropy, Expect, Head, Key, NewSlot, Put, Rev, Scope, Slot, SlotKey, Store,
    StoreError, Swap, Swapped, SystemEntropy, Verdict,
};
use idemp_sqlite::SqliteStore;
use rusqlite::Connection;

pub(crate) const LEASE: Duration = Duration::from_secs(30);
pub(crate) const KEEP: Duration = Duration::from_secs(24 * 3600);

pub(crate) fn key(text: &str) -> SlotKey {
    SlotKey::new(&Scope::new(["tenant-7"]).unwrap(), &Key::new(text).unwrap())
}

pub(crate) fn put(slot: &SlotKey, expect: Expect, lease_for: Duration, body: &[u8]) -> Swap {
    Swap {
        slot: slot.clone(),
        expect,
        put: Put::Slot(NewSlot {
            rev: Rev::from_bytes(SystemEntropy.bytes()),
            lease_for,
            keep_for: KEEP,
            head: Head::from_bytes(&[1; 101]).unwrap(),
            body: Body::from(body),
        }),
    }
}

/// Takes a vacant slot.
pub(crate) fn claim(slot: &SlotKey) -> Swap {
    put(slot, Expect::Vacant, LEASE, b"")
}

pub(crate) fn begin(store: &impl Store, slot: &SlotKey) {
    assert_eq!(store.swap(&claim(slot)).unwrap().verdict, Verdict::Won);
}

pub(crate) fn end(store: &impl Store, slot: &SlotKey, there: &Slot, body: &[u8]) {
    let swap = put(slot, Expect::Rev(there.rev), Duration::ZERO, body);
    assert_eq!(store.swap(&swap).unwrap().verdict, Verdict::Won);
}

/// What lies there.
pub(crate) fn here(store: &impl Store, slot: &SlotKey) -> Option<Slot> {
    match store.swap(&Swap::read(slot.clone())).unwrap().verdict {
        Verdict::Lost(slot) => slot,
        Verdict::Won => panic!("a read never wins"),
    }
}

/// The file, as somebody else opens it.
pub(crate) fn raw(path: &Path) -> Connection {
    Connection::open(path).unwrap()
}

pub(crate) fn is_root() -> bool {
    let id = std::process::Command::new("id").arg("-u").output().unwrap();
    id.stdout == b"0\n"
}

/// A temporary folder that goes with the test.
pub(crate) struct Folder(PathBuf);

impl Folder {
    pub(crate) fn new() -> Self {
        let name: String = SystemEntropy.bytes()[..8]
            .iter()
            .map(|b| format!("{b:02x}"))
            .collect();
        let folder = std::env::temp_dir().join(format!("idemp-sqlite-{name}"));
        std::fs::create_dir(&folder).unwrap();
        Self(folder)
    }

    pub(crate) fn root(&self) -> &Path {
        &self.0
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// Any executor will do: this one is a thread that parks.
pub(crate) fn block_on<T>(future: impl Future<Output = T>) -> T {
    struct Unpark(Thread);
    impl Wake for Unpark {
        fn wake(self: Arc<Self>) {
            self.0.unpark();
        }
    }
    let waker = Waker::from(Arc::new(Unpark(std::thread::current())));
    let mut future = pin!(future);
    loop {
        if let Poll::Ready(done) = future.as_mut().poll(&mut Context::from_waker(&waker)) {
            return done;
        }
        std::thread::park();
    }
}

/// Puts it into the queue, and no more.
pub(crate) fn enter<'a>(
    store: &'a SqliteStore,
    swap: &'a Swap,
) -> std::pin::Pin<Box<dyn Future<Output = Result<Swapped, StoreError>> + 'a>> {
    let mut entered = Box::pin(AsyncStore::swap(store, swap));
    let polled = entered
        .as_mut()
        .poll(&mut Context::from_waker(Waker::noop()));
    assert!(polled.is_pending());
    entered
}

pub(crate) fn rev_of(swap: &Swap) -> idemp::Rev {
    match &swap.put {
        idemp::Put::Slot(new) => new.rev,
        idemp::Put::Remove => idemp::Rev::NIL,
    }
}
