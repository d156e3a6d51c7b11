//! The memory store: each call is over when it returns.

use std::cell::RefCell;

use idemp::wire::{Driven, read_swap, swapped};
use idemp::{Idempotency, Store, StoreError, SystemClock};
use napi::bindgen_prelude::{Uint8Array, Uint8ArraySlice};
use napi_derive::napi;

use crate::clock::Clock;
use crate::crossing::{Told, body, caught_in_store};

/// See [`idemp::MemoryStore`].
#[napi]
pub struct MemoryStore {
    idem: Idempotency<idemp::MemoryStore>,
    number: u32,
}

thread_local! {
    /// The stores of this thread of JavaScript, by their numbers: to find one by its object takes
    /// Node longer than all the rest of a crossing.
    static STORES: RefCell<Vec<Option<Idempotency<idemp::MemoryStore>>>> = const { RefCell::new(Vec::new()) };
}

/// Drives a call, the first `length` bytes of `io`, to its end on the store of this number: see
/// [`Driven`].
#[napi(catch_unwind)]
pub fn drive_in_memory(
    store: u32,
    io: Uint8ArraySlice<'_>,
    length: u32,
    own: Option<&[u8]>,
    known: Option<&[u8]>,
) -> Option<Uint8Array> {
    let Some(call) = io.get(..length as usize) else {
        return Told::malformed().write(io);
    };
    let told = caught_in_store(|| {
        let driven = match Driven::read(call, body(own), body(known)) {
            Ok(driven) => driven,
            Err(refused) => return Told::refused(refused),
        };
        STORES.with_borrow(|stores| match stores.get(store as usize) {
            Some(Some(idem)) => driven.drive(idem).into(),
            _ => (&StoreError::Closed).into(),
        })
    });
    told.write(io)
}

#[napi]
impl MemoryStore {
    /// Empty, for at most so many slots.
    #[napi(constructor)]
    pub fn new(capacity: f64, clock: Option<&Clock>) -> Self {
        let capacity = capacity as usize;
        let idem = Idempotency::new(match clock {
            Some(clock) => idemp::MemoryStore::with(clock.clone(), capacity),
            None => idemp::MemoryStore::with(SystemClock::new(), capacity),
        });
        let number = STORES.with_borrow_mut(|stores| {
            let free = stores.iter().position(Option::is_none);
            let number = free.unwrap_or_else(|| {
                stores.push(None);
                stores.len() - 1
            });
            stores[number] = Some(idem.clone());
            number as u32
        });
        Self { idem, number }
    }

    /// What [`drive_in_memory`] knows it by, as long as this object lives.
    #[napi(getter)]
    pub fn number(&self) -> u32 {
        self.number
    }

    /// Puts one question: see [`read_swap`].
    #[napi(catch_unwind)]
    pub fn swap(
        &self,
        io: Uint8ArraySlice<'_>,
        length: u32,
        own: Option<&[u8]>,
    ) -> Option<Uint8Array> {
        let Some(question) = io.get(..length as usize) else {
            return Told::malformed().write(io);
        };
        let told = caught_in_store(|| match read_swap(question, body(own)) {
            Ok(swap) => {
                let reply = self.idem.store().swap(&swap);
                reply.map(|reply| swapped(&reply)).into()
            }
            Err(refused) => Told::refused(refused),
        });
        told.write(io)
    }

    /// Removes every slot whose name begins so, live ones too.
    #[napi(catch_unwind)]
    pub fn forget(&self, prefix: &[u8]) {
        self.idem.store().forget(prefix);
    }

    /// How many slots are held.
    #[napi(getter, catch_unwind)]
    pub fn size(&self) -> u32 {
        u32::try_from(self.idem.store().len()).unwrap_or(u32::MAX)
    }

    /// Collects every slot that is gone, and says how many.
    #[napi(catch_unwind)]
    pub fn purge(&self) -> u32 {
        u32::try_from(self.idem.store().purge()).unwrap_or(u32::MAX)
    }
}

impl Drop for MemoryStore {
    fn drop(&mut self) {
        // Where the thread ends its stores may have gone before.
        let _ = STORES.try_with(|stores| {
            let store = stores.borrow_mut()[self.number as usize].take();
            drop(store);
        });
    }
}
