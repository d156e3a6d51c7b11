//! Any bytes: what crosses to other languages, and what comes back from stores, never panics, and is
//! answered or refused.
//!
//! `cargo +nightly fuzz run wire -- -max_total_time=60`, from the root of the repository, after
//! `cargo install cargo-fuzz`. The first byte says which function.

#![no_main]

use idemp::wire::{self, Driven};
use idemp::{Body, Idempotency, MemoryStore};
use libfuzzer_sys::fuzz_target;

/// Numbers of the functions of `wire::call`, and behind them what a native store is asked.
const DRIVEN: u8 = 32;
const SWAP: u8 = 33;

fuzz_target!(|input: &[u8]| {
    let Some((function, question)) = input.split_first() else {
        return;
    };
    let body = || Body::from(&b"body"[..]);
    match function % 34 {
        DRIVEN => {
            if let Ok(call) = Driven::read(question, body(), body()) {
                let idem = Idempotency::new(MemoryStore::new());
                call.drive(&idem).expect("a store in memory answers");
            }
        }
        SWAP => drop(wire::read_swap(question, body())),
        function => {
            let answer = wire::call(function, question);
            assert!(answer[0] == 1 || answer.len() == 10, "answered or refused");
        }
    }
});
