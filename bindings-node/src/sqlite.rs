//! The SQLite store: what only reads is over when it returns, and a write is awaited.

use std::sync::Arc;
use std::time::Duration;

use idemp::wire::{Driven, read_swap, swapped};
use idemp::{AsyncStore, Idempotency, StoreError};
use idemp_sqlite::{Durability, SqliteOptions};
use napi::bindgen_prelude::{Object, Result, ToNapiValue, Uint8Array, Uint8ArraySlice};
use napi::{Env, Error};
use napi_derive::napi;

use crate::calls::Calls;
use crate::clock::Clock;
use crate::crossing::{Told, body, caught_in_store, error_code, why};

/// See [`idemp_sqlite::SqliteStore`].
#[napi]
pub struct SqliteStore {
    idem: Idempotency<Arc<idemp_sqlite::SqliteStore>>,
    calls: Calls,
}

/// How a file is opened; what is left out has the default of [`SqliteOptions`].
#[napi(object)]
pub struct SqliteOpening {
    /// An acknowledged write survives a killed process only, and no loss of power.
    pub relaxed: bool,
    /// In milliseconds.
    pub busy_timeout: Option<f64>,
    /// How many writes may wait.
    pub queue: Option<u32>,
    /// Of the file.
    pub max_bytes: Option<f64>,
}

#[napi]
impl SqliteStore {
    /// Opens the file. What is thrown has the code of an error of a store.
    #[napi(constructor, catch_unwind)]
    pub fn new(
        path: String,
        opening: SqliteOpening,
        clock: Option<&Clock>,
    ) -> std::result::Result<Self, Error<String>> {
        let mut options = SqliteOptions::new();
        if opening.relaxed {
            options = options.durability(Durability::Process);
        }
        if let Some(bound) = opening.busy_timeout {
            options = options.busy_timeout(Duration::from_millis(bound as u64));
        }
        if let Some(writes) = opening.queue {
            options = options.queue(writes as usize);
        }
        if let Some(bytes) = opening.max_bytes {
            options = options.max_bytes(bytes as u64);
        }
        if let Some(clock) = clock {
            options = options.clock(clock.clone());
        }
        let store = options.open(path).map_err(|error| thrown(&error))?;
        Ok(Self {
            idem: Idempotency::new(Arc::new(store)),
            calls: Calls::default(),
        })
    }

    /// Drives a call, the first `length` bytes of `io`: to its end, or up to where it has to wait.
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
            Ok(driven) => {
                let idem = self.idem.clone();
                let call = async move { driven.drive_async(&idem).await.into() };
                self.calls.start(call)
            }
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
                let store = self.idem.store().clone();
                let call = async move {
                    let reply = AsyncStore::swap(&store, &swap).await;
                    reply.map(|reply| swapped(&reply)).into()
                };
                self.calls.start(call)
            }
            Err(refused) => Told::refused(refused),
        });
        told.write(io)
    }

    /// A promise that is kept when a call that waited may go on; nothing where one may already.
    #[napi(catch_unwind, ts_return_type = "Promise<void> | null")]
    pub fn tick<'a>(&self, env: &'a Env) -> Result<Option<Object<'a>>> {
        self.calls.tick(env)
    }

    /// The answer to a call that waited, if one has ended.
    #[napi(catch_unwind)]
    pub fn take(&self, io: Uint8ArraySlice<'_>) -> Option<Uint8Array> {
        caught_in_store(|| self.calls.take()).write(io)
    }

    /// Removes at most so many slots that are gone, and says how many it removed.
    #[napi(catch_unwind, ts_return_type = "Promise<number>")]
    pub fn purge<'a>(&self, env: &'a Env, limit: f64) -> Result<Object<'a>> {
        let store = self.idem.store().clone();
        beside(env, move || Ok(store.purge(limit as u64)? as f64))
    }

    /// How many transactions were committed that wrote.
    #[napi(getter, catch_unwind)]
    pub fn commits(&self) -> f64 {
        self.idem.store().commits() as f64
    }

    /// Waits until what is queued is committed, and closes the file.
    #[napi(catch_unwind, ts_return_type = "Promise<void>")]
    pub fn close<'a>(&self, env: &'a Env) -> Result<Object<'a>> {
        let store = self.idem.store().clone();
        beside(env, move || {
            store.close();
            Ok(())
        })
    }
}

/// Does on a thread of its own what takes long and is done seldom.
fn beside<'a, T: ToNapiValue + Send + 'static>(
    env: &'a Env,
    work: impl FnOnce() -> std::result::Result<T, StoreError> + Send + 'static,
) -> Result<Object<'a>> {
    let (done, promise) = env.create_deferred()?;
    std::thread::spawn(move || {
        let worked = std::panic::catch_unwind(std::panic::AssertUnwindSafe(work));
        match worked.unwrap_or_else(|_| Err(StoreError::unavailable("it failed unexpectedly"))) {
            Ok(value) => done.resolve(move |_| Ok(value)),
            // Only the reason of such an error crosses: the code stands before it.
            Err(error) => done.reject(Error::from_reason(format!(
                "{} {}",
                error_code(&error),
                why(&error)
            ))),
        }
    });
    Ok(promise)
}

fn thrown(error: &StoreError) -> Error<String> {
    Error::new(error_code(error).to_string(), why(error))
}
