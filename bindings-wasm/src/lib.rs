//! The core for JavaScript: [`wire::call`], bytes in and bytes out. What they mean is written there.
//!
//! A host asks for [`room`], writes its question there and makes the [`call`]. The answer lies at its
//! [`place`] until there is room for another question: there is nothing to free.

#[cfg(all(idemp_small, target_family = "wasm"))]
mod allocator;

use idemp::wire;
use std::cell::Cell;
use std::mem::ManuallyDrop;

thread_local! {
    /// The question, and then the answer. There is one thread, which does not end: what is dropped by
    /// hand brings no code for that.
    static BYTES: Cell<ManuallyDrop<Vec<u8>>> = const { Cell::new(ManuallyDrop::new(Vec::new())) };
}

fn replace(bytes: Vec<u8>) -> Vec<u8> {
    ManuallyDrop::into_inner(BYTES.replace(ManuallyDrop::new(bytes)))
}

/// Where a question of so many bytes is to be written. What was there before is gone.
#[unsafe(export_name = "room")]
pub extern "C" fn room(length: usize) -> *const u8 {
    drop(replace(Vec::new())); // given back before more is taken
    replace(vec![0; length]);
    place()
}

/// Answers the question: see [`wire::call`]. Returns how long the answer is, in bytes.
#[unsafe(export_name = "call")]
pub extern "C" fn call(function: u8) -> usize {
    let question = replace(Vec::new());
    let answer = wire::call(function, &question);
    let length = answer.len();
    replace(answer);
    length
}

/// Where the answer lies.
#[unsafe(export_name = "place")]
pub extern "C" fn place() -> *const u8 {
    let bytes = replace(Vec::new());
    let place = bytes.as_ptr();
    replace(bytes);
    place
}
