//! The memory store: each call is over when it returns.

use idemp::wire::{Driven, read_swap, swapped};
use idemp::{Idempotency, Store, SystemClock};
use napi::bindgen_prelude::{Uint8Array, Uint8ArraySlice};
use napi_derive::napi;

use crate::clock::Clock;
use crate::crossing::{Told, body, caught_in_store};

/// See [`idemp::MemoryStore`].
#[napi]
pub struct MemoryStore(Idempotency<idemp::MemoryStore>);

#[napi]
impl MemoryStore {
    /// Empty, for at most so many slots.
    #[napi(constructor)]
    pub fn new(capacity: f64, clock: Option<&Clock>) -> Self {
        let capacity = capacity as usize;
        Self(Idempotency::new(match clock {
            Some(clock) => idemp::MemoryStore::with(clock.clone(), capacity),
            None => idemp::MemoryStore::with(SystemClock::new(), capacity),
        }))
    }

    /// Drives a call, the first `length` bytes of `io`, to its end: see [`Driven`].
    #[napi(catch_unwind)]
    pub fn drive(
        &self,
        io: Uint8ArraySlice<'_>,
        length: u32,
        own: Option<&[u8]>,
        known: Option<&[u8]>,
    ) -> Option<Uint8Array> {
        let Some(call) = io.get(..length as usize) else {
            return Told::malformed().write(io);
        };
        let told = caught_in_store(|| match Driven::read(call, body(own), body(known)) {
            Ok(driven) => driven.drive(&self.0).into(),
            Err(refused) => Told::refused(refused),
        });
        told.write(io)
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
                let reply = self.0.store().swap(&swap);
                reply.map(|reply| swapped(&reply)).into()
            }
            Err(refused) => Told::refused(refused),
        });
        told.write(io)
    }

    /// Removes every slot whose name begins so, live ones too.
    #[napi(catch_unwind)]
    pub fn forget(&self, prefix: &[u8]) {
        self.0.store().forget(prefix);
    }

    /// How many slots are held.
    #[napi(getter, catch_unwind)]
    pub fn size(&self) -> u32 {
        u32::try_from(self.0.store().len()).unwrap_or(u32::MAX)
    }

    /// Collects every slot that is gone, and says how many.
    #[napi(catch_unwind)]
    pub fn purge(&self) -> u32 {
        u32::try_from(self.0.store().purge()).unwrap_or(u32::MAX)
    }
}
