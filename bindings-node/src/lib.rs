//! `idemp` as an addon of Node: [`wire::call`], and the native stores.
//!
//! All calls are synchronous, and Rust calls no function of JavaScript: what waits for a disk is
//! told of by a promise. Bytes cross in one buffer, which the question comes in and the answer goes
//! back in: see [`crossing`]. No panic crosses.

mod calls;
mod clock;
mod crossing;
mod memory;
mod sqlite;

pub use memory::drive_in_memory;

use std::panic::catch_unwind;

use idemp::{Fingerprint, wire};
use napi::bindgen_prelude::{Uint8Array, Uint8ArraySlice};
use napi_derive::napi;

use crossing::{Told, caught};

/// How the crossing is laid out. What loads the addon knows one of them.
#[napi]
pub const LAYOUT: u32 = 1;

/// See [`wire::call`]: the question is the first `length` bytes of `io`.
#[napi(catch_unwind)]
pub fn call(function: u8, io: Uint8ArraySlice<'_>, length: u32) -> Option<Uint8Array> {
    let told = match io.get(..length as usize) {
        Some(question) => caught(|| Told::bytes(wire::call(function, question))),
        None => Told::malformed(),
    };
    told.write(io)
}

/// The fingerprint of a body, which is JSON or not: of the first `length` bytes. `place` gets it in hex,
/// and its 33 bytes behind that. False says that it failed.
#[napi(catch_unwind)]
pub fn fingerprint(json: bool, body: &[u8], length: f64, place: Uint8ArraySlice<'_>) -> bool {
    let made = catch_unwind(|| {
        let body = body.get(..length as usize)?;
        Some(match json {
            true => Fingerprint::of_json(body),
            false => Fingerprint::of_bytes(body),
        })
    });
    match made {
        Ok(Some(made)) => crossing::seal(&made, place),
        _ => false,
    }
}

/// [`wire::call`], where the question lies elsewhere: it is not copied.
#[napi(catch_unwind)]
pub fn call_on(function: u8, question: &[u8], io: Uint8ArraySlice<'_>) -> Option<Uint8Array> {
    caught(|| Told::bytes(wire::call(function, question))).write(io)
}
