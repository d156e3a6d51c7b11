//! The allocator of a page: a twentieth of the size of the standard one.
//!
//! Blocks lie one behind the other. The last one is taken back at once; the others when no block is
//! left, which is after each call.

use core::alloc::{GlobalAlloc, Layout};
use core::arch::wasm32::{memory_grow, memory_size};
use core::cell::Cell;
use core::ptr;

const PAGE: usize = 64 * 1024;

unsafe extern "C" {
    /// Where the linker leaves the memory to the program.
    static __heap_base: u8;
}

#[global_allocator]
static BLOCKS: Blocks = Blocks {
    end: Cell::new(0),
    count: Cell::new(0),
};

struct Blocks {
    /// Where the last one ends.
    end: Cell<usize>,
    /// How many there are.
    count: Cell<usize>,
}

// SAFETY: the target has no threads, and an instance is never shared between workers.
unsafe impl Sync for Blocks {}

// SAFETY: a block starts at or behind the end of all that are in use, so that none overlap, and it
// ends within the memory.
unsafe impl GlobalAlloc for Blocks {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        let end = match self.count.get() {
            0 => (&raw const __heap_base).addr(),
            _ => self.end.get(),
        };
        let start = end.next_multiple_of(layout.align());
        let Some(end) = start.checked_add(layout.size()) else {
            return ptr::null_mut();
        };
        let missing = end.div_ceil(PAGE).saturating_sub(memory_size::<0>());
        if missing > 0 && memory_grow::<0>(missing) == usize::MAX {
            return ptr::null_mut();
        }
        self.end.set(end);
        self.count.set(self.count.get() + 1);
        ptr::with_exposed_provenance_mut(start)
    }

    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        self.count.set(self.count.get() - 1);
        if block.addr() + layout.size() == self.end.get() {
            self.end.set(block.addr());
        }
    }
}
