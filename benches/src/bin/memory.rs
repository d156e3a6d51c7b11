//! The memory store: `begin` and `finish` beside the same two writes on plain locked maps, replays,
//! and the memory that a record takes.

use std::alloc::{GlobalAlloc, Layout, System};
use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};
use std::hint::black_box;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use idemp::{
    Body, Decision, Fingerprint, Head, Idempotency, Key, MemoryStore, Rev, Scope, Slot, SlotKey,
    Timestamp,
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
    println!("with the same keys and values; it draws, times and decides nothing. Keys and");
    println!("fingerprints are made beforehand.\n");
    let names: Vec<Name> = (0..KEYS).map(name).collect();
    pairs_on_one_thread(&names);
    pairs_on_two_threads(&names);
    replays(&names);
    memory_per_record();
}

fn pairs_on_one_thread(names: &[Name]) {
    let mut race = Race::new("begin + finish, one thread");
    let (mut plain, mut n) = (Plain::new(), 0);
    race.contender("two writes on locked HashMaps", move || {
        if n == names.len() {
            (plain, n) = (Plain::new(), 0);
        }
        plain.pair(&names[n]);
        n += 1;
    });
    let (mut idem, mut n) = (idempotency(), 0);
    race.contender("idemp, begin + finish", move || {
        if n == names.len() {
            (idem, n) = (idempotency(), 0);
        }
        pair(&idem, &names[n]);
        n += 1;
    });
    race.run().print();
}

fn pairs_on_two_threads(names: &[Name]) {
    const ROUNDS: usize = 41;
    let mut samples = [Vec::new(), Vec::new()];
    for _ in 0..ROUNDS {
        let plain = Plain::new();
        samples[0].push(two_threads(names, |name| plain.pair(name)));
        let idem = idempotency();
        samples[1].push(two_threads(names, |name| pair(&idem, name)));
    }
    let [reference, ours] = samples.map(|mut samples| {
        samples.sort();
        samples[ROUNDS / 2].as_nanos() as f64 / names.len() as f64
    });
    println!("begin + finish, two threads on one store (wall time over all pairs)");
    println!("  two writes on locked HashMaps {reference:>10.1} ns");
    println!(
        "  idemp, begin + finish         {ours:>10.1} ns   {:.2} times the cost\n",
        ours / reference
    );
}

fn two_threads(names: &[Name], work: impl Fn(&Name) + Sync) -> Duration {
    let start = Instant::now();
    std::thread::scope(|threads| {
        for half in names.chunks(names.len() / 2) {
            let work = &work;
            threads.spawn(move || half.iter().for_each(work));
        }
    });
    start.elapsed()
}

fn replays(names: &[Name]) {
    let names = &names[..1000];
    let mut race = Race::new("replay: begin (a hit), 100 bytes");
    let plain = Plain::new();
    names.iter().for_each(|name| plain.pair(name));
    let mut turns = names.iter().cycle();
    race.contender("one read of locked HashMaps", move || {
        plain.get(turns.next().unwrap())
    });
    let idem = idempotency();
    names.iter().for_each(|name| pair(&idem, name));
    let mut turns = names.iter().cycle();
    race.contender("idemp, begin", move || {
        let (scope, key) = turns.next().unwrap();
        idem.begin(scope, key, &payload()).unwrap().is_hit()
    });
    race.run().print();
}

fn memory_per_record() {
    const RECORDS: usize = 1_000_000;
    let idem = idempotency();
    let before = ALLOCATED.load(Ordering::Relaxed);
    (0..RECORDS).for_each(|n| pair(&idem, &name(n)));
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

type Name = (Scope, Key);

fn name(n: usize) -> Name {
    let user = format!("user-{:04}", n % 1000);
    (
        Scope::new([user]).unwrap(),
        Key::new(format!("final-17696608-{n:08}")).unwrap(),
    )
}

fn pair(idem: &Idempotency<MemoryStore>, (scope, key): &Name) {
    match idem.begin(scope, key, &payload()).unwrap() {
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

    fn pair(&self, (scope, key): &Name) {
        let key = SlotKey::new(scope, key);
        self.shard(&key)
            .lock()
            .insert(key.clone(), slot(Body::default()));
        self.shard(&key)
            .lock()
            .insert(key, slot(Body::from(&OUTCOME[..])));
    }

    fn get(&self, (scope, key): &Name) -> Option<Slot> {
        let key = SlotKey::new(scope, key);
        self.shard(&key).lock().get(&key).cloned()
    }
}

/// What the store writes; nothing of it is drawn, timed or decided.
fn slot(body: Body) -> Slot {
    let time = black_box(Timestamp::from_millis(1_769_660_861_000));
    let rev = Rev::from_bytes(black_box([1; 16]));
    let head = Head::from_bytes(black_box(&[1; 60])).unwrap();
    Slot {
        rev,
        lease_until: time,
        gone_at: time,
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
