//! What the tests ask, and how they look into an error.
#![allow(dead_code)] // each test file uses some

use std::time::Duration;

use idemp::{
    Body, Entropy, Expect, Head, Key, NewSlot, Put, Rev, Scope, SlotKey, StoreError, Swap,
    SystemEntropy,
};
use idemp_redis::RedisFault;

pub(crate) const LEASE: Duration = Duration::from_secs(30);
pub(crate) const KEPT: Duration = Duration::from_secs(3600);

pub(crate) fn name(key: &str) -> SlotKey {
    SlotKey::new(&Scope::new(["user-1"]).unwrap(), &Key::new(key).unwrap())
}

/// The key under which the server has it.
pub(crate) fn key_of(key: &str) -> String {
    let slot = name(key);
    format!("idemp:{}", std::str::from_utf8(slot.as_bytes()).unwrap())
}

pub(crate) fn claim(key: &str) -> Swap {
    put(key, Expect::Vacant, b"", LEASE)
}

/// What the owner of a claim does in the end.
pub(crate) fn outcome(claim: &Swap, body: &[u8]) -> Swap {
    let expect = Expect::Rev(rev(claim));
    let mut swap = put("any", expect, body, Duration::ZERO);
    swap.slot = claim.slot.clone();
    swap
}

pub(crate) fn read(key: &str) -> Swap {
    Swap::read(name(key))
}

/// The revision that a swap puts.
pub(crate) fn rev(swap: &Swap) -> Rev {
    match &swap.put {
        Put::Slot(new) => new.rev,
        Put::Remove => Rev::NIL,
    }
}

fn put(key: &str, expect: Expect, body: &[u8], lease_for: Duration) -> Swap {
    let rev = Rev::from_bytes(SystemEntropy.bytes());
    Swap {
        slot: name(key),
        expect,
        put: Put::Slot(NewSlot {
            rev,
            lease_for,
            keep_for: KEPT,
            head: Head::from_bytes(rev.as_bytes()).unwrap(),
            body: Body::from(body),
        }),
    }
}

/// Why, as this store tells it.
pub(crate) fn fault(error: &StoreError) -> RedisFault {
    let source = std::error::Error::source(error);
    let fault = source.and_then(|source| source.downcast_ref::<RedisFault>());
    fault
        .unwrap_or_else(|| panic!("no cause of Redis: {error:?}"))
        .clone()
}
