//! What several tests need.
#![allow(dead_code)]

use std::path::{Path, PathBuf};
use std::time::Duration;

use idemp::{
    Body, Entropy, Expect, Head, Key, NewSlot, Put, Rev, Scope, Slot, SlotKey, Store, Swap,
    SystemEntropy, Verdict,
};
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
