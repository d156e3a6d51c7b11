//! The memory store: `begin` and `finish` beside the same two writes on plain locked maps, replays,
//! and the memory that a record takes.

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};
use std::hint::black_box;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use idemp::{
    Body, Decision, Fingerprint, Head, Idempotency, Key, MemoryStore, Owner, Rev, Scope, Slot,
    SlotKey, SystemEntropy, Timestamp,
};
use idemp_benches::Race;
use parking_lot::Mutex;

const OUTCOME: [u8; 100] = [7; 100];
/// After so many keys a contender takes a new, empty store.
const KEYS: usize = 1 << 16;

fn main() {
    println!(
        "One pair is `begin` (a miss) and `finish`, with a key never seen and an outcome of 100"
    );
    println!(
        "bytes. The reference makes the same two writes on 64 HashMaps behind parking_lot locks,"
    );
    println!("with the same keys and values, and no decision. Fingerprints are made beforehand.\n");
    pairs_on_one_thread();
    pairs_on_two_threads();
    replays();
    memory_per_record();
}

fn pairs_on_one_thread() {
    let mut race = Race::new("begin + finish, one thread");
    let (mut plain, mut n) = (Plain::new(), 0);
    race.contender("two writes on locked HashMaps", move || {
        if n % KEYS == 0 {
            plain = Plain::new();
        }
        n += 1;
        plain.pair(n);
    });
    let (mut idem, mut n) = (idempotency(), 0);
    race.contender("idemp, begin + finish", move || {
        if n % KEYS == 0 {
            idem = idempotency();
        }
        n += 1;
        pair(&idem, n);
    });
    race.run().print();
}

fn pairs_on_two_threads() {
    const ROUNDS: usize = 41;
    let mut samples = [Vec::new(), Vec::new()];
    for _ in 0..ROUNDS {
        let plain = Plain::new();
        samples[0].push(two_threads(|n| plain.pair(n)));
        let idem = idempotency();
        samples[1].push(two_threads(|n| pair(&idem, n)));
    }
    let [reference, ours] = samples.map(|mut samples| {
        samples.sort();
        samples[ROUNDS / 2].as_nanos() as f64 / KEYS as f64
    });
    println!("begin + finish, two threads on one store (wall time for each pair of the two)");
    println!("  two writes on locked HashMaps {reference:>10.1} ns");
    println!(
        "  idemp, begin + finish         {ours:>10.1} ns   {:.2} times the cost\n",
        ours / reference
    );
}

fn two_threads(work: impl Fn(usize) + Sync) -> Duration {
    let start = Instant::now();
    std::thread::scope(|threads| {
        for half in 0..2 {
            let work = &work;
            threads.spawn(move || (0..KEYS / 2).for_each(|n| work(2 * n + half)));
        }
    });
    start.elapsed()
}

fn replays() {
    let mut race = Race::new("replay: begin (a hit), 100 bytes");
    let plain = Plain::new();
    (0..1000).for_each(|n| plain.pair(n));
    let mut n = 0;
    race.contender("one read of locked HashMaps", move || {
        n = (n + 1) % 1000;
        plain.get(n)
    });
    let idem = idempotency();
    (0..1000).for_each(|n| pair(&idem, n));
    let names: Vec<_> = (0..1000).map(name).collect();
    let mut n = 0;
    race.contender("idemp, begin", move || {
        n = (n + 1) % 1000;
        let (scope, key) = &names[n];
        idem.begin(scope, key, &payload()).unwrap().is_hit()
    });
    race.run().print();
}

fn memory_per_record() {
    const RECORDS: usize = 1_000_000;
    let idem = Idempotency::new(MemoryStore::new());
    let before = ALLOCATED.load(Ordering::Relaxed);
    (0..RECORDS).for_each(|n| pair(&idem, n));
    let taken = ALLOCATED.load(Ordering::Relaxed) - before;
    let (scope, key) = name(RECORDS);
    println!(
        "memory: {RECORDS} records with an outcome of {} bytes and a slot key of {} take {} bytes each\n\
         \x20 (what the allocator was asked for, rounded up to its 16 bytes, with 8 for its own)",
        OUTCOME.len(),
        SlotKey::new(&scope, &key).as_bytes().len(),
        taken / RECORDS
    );
}

fn idempotency() -> Idempotency<MemoryStore> {
    Idempotency::new(MemoryStore::new())
}

fn payload() -> Fingerprint {
    Fingerprint::from_parts(Fingerprint::VERSION, [1; 32])
}

fn name(n: usize) -> (Scope, Key) {
    let user = format!("user-{:04}", n % 1000);
    (
        Scope::new([user]).unwrap(),
        Key::new(format!("final-17696608-{n:08}")).unwrap(),
    )
}

fn pair(idem: &Idempotency<MemoryStore>, n: usize) {
    let (scope, key) = name(n);
    match idem.begin(&scope, &key, &payload()).unwrap() {
        Decision::Miss(mut lease) => lease.finish_bytes(Body::from(&OUTCOME[..])).unwrap(),
        other => panic!("a new key is a miss, not {other:?}"),
    }
}

/// The same keys and values, and nothing decided.
struct Plain {
    shards: Vec<Mutex<HashMap<SlotKey, Slot>>>,
    hasher: RandomState,
}

impl Plain {
    fn new() -> Self {
        let shards = (0..64).map(|_| Mutex::default()).collect();
        Self {
            shards,
            hasher: RandomState::new(),
        }
    }

    fn shard(&self, key: &SlotKey) -> &Mutex<HashMap<SlotKey, Slot>> {
        &self.shards[(self.hasher.hash_one(key) >> 32) as usize % 64]
    }

    fn pair(&self, n: usize) {
        let (scope, key) = name(n);
        let key = SlotKey::new(&scope, &key);
        self.shard(&key)
            .lock()
            .insert(key.clone(), slot(Body::default()));
        self.shard(&key)
            .lock()
            .insert(key, slot(Body::from(&OUTCOME[..])));
    }

    fn get(&self, n: usize) -> Option<Slot> {
        let (scope, key) = name(n);
        let key = SlotKey::new(&scope, &key);
        self.shard(&key).lock().get(&key).cloned()
    }
}

/// What the store writes, the revision drawn like there.
fn slot(body: Body) -> Slot {
    use idemp::{Clock as _, Entropy as _};
    thread_local! {
        static CLOCK: Cell<Option<idemp::SystemClock>> = const { Cell::new(None) };
    }
    let clock = CLOCK.get().unwrap_or_default();
    CLOCK.set(Some(clock));
    let now = clock.now();
    let later = |hours: u64| now + Duration::from_secs(3600 * hours);
    black_box(Owner::from_bytes(SystemEntropy.bytes()));
    let head = Head::from_bytes(&[1; 60]).unwrap();
    let rev = Rev::from_bytes(SystemEntropy.bytes());
    Slot {
        rev,
        lease_until: later(1).max(Timestamp::default()),
        gone_at: later(24),
        head,
        body,
    }
}

/// Counts what is allocated, as the common allocators round it.
struct Counting;

static ALLOCATED: AtomicUsize = AtomicUsize::new(0);

fn rounded(layout: Layout) -> usize {
    (layout.size() + 8).next_multiple_of(16)
}

// SAFETY: every call is handed to the system's allocator as it came.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ALLOCATED.fetch_add(rounded(layout), Ordering::Relaxed);
        // SAFETY: as it came.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        ALLOCATED.fetch_sub(rounded(layout), Ordering::Relaxed);
        // SAFETY: as it came.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;
