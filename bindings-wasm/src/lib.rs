//! The core for JavaScript: [`wire::call`], bytes in and bytes out. What they mean is written there.

use idemp::wire;
use wasm_bindgen::prelude::wasm_bindgen;

/// A tenth of the size of the standard one. What is allocated here is a few buffers a call.
#[cfg(idemp_small)]
#[global_allocator]
static ALLOCATOR: lol_alloc::AssumeSingleThreaded<lol_alloc::FreeListAllocator> =
    // SAFETY: the target has no threads, and an instance is never shared between workers.
    unsafe { lol_alloc::AssumeSingleThreaded::new(lol_alloc::FreeListAllocator::new()) };

/// See [`wire::call`].
#[wasm_bindgen]
#[must_use]
pub fn call(function: u8, question: &[u8]) -> Vec<u8> {
    wire::call(function, question)
}
