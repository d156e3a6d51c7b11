//! How often the memory store's path asks for memory, counted and not timed.

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

use idemp::{Decision, Fingerprint, Idempotency, Key, MemoryStore, Scope};

struct Counting;

thread_local! {
    static COUNT: Cell<usize> = const { Cell::new(0) };
}

// SAFETY: every call is handed to the system's allocator as it came.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        let _ = COUNT.try_with(|count| count.set(count.get() + 1));
        // SAFETY: as it came.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: as it came.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

#[test]
fn a_hit_allocates_once_whatever_the_size_of_its_outcome() {
    let idem = Idempotency::new(MemoryStore::new());
    let scope = Scope::new(["tenant", "user", "POST /api/video-tasks"]).unwrap();
    for size in [0, 100, 100_000] {
        let key = Key::new(format!("final-{size}")).unwrap();
        let payload = Fingerprint::of_bytes(b"payload");
        let Decision::Miss(mut lease) = idem.begin(&scope, &key, &payload).unwrap() else {
            panic!("a new key is a miss")
        };
        lease.finish_bytes(vec![7; size]).unwrap();
        drop(lease);

        let before = COUNT.get();
        let decision = idem.begin(&scope, &key, &payload).unwrap();
        let allocated = COUNT.get() - before;
        let Decision::Hit(replay) = decision else {
            panic!("the same again is a hit")
        };
        assert_eq!(replay.bytes().len(), size);
        assert_eq!(allocated, 1, "an outcome of {size} bytes");
    }
}
