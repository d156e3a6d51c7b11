//! [`MemoryStore`]: the store of one process.

use std::cmp::Reverse;
use std::collections::hash_map::{Entry, RandomState};
use std::collections::{BinaryHeap, HashMap};
use std::fmt;
use std::future::Future;
use std::hash::{BuildHasher, BuildHasherDefault, Hasher};
use std::sync::Arc;

#[cfg(shuttle)]
use shuttle::sync::{
    Mutex, MutexGuard,
    atomic::{AtomicUsize, Ordering},
};
#[cfg(not(shuttle))]
use std::sync::{
    Mutex, MutexGuard,
    atomic::{AtomicUsize, Ordering},
};

use crate::body::{Body, joined};
use crate::error::StoreError;
use crate::slot::{Head, Rev, Slot, Swap, Swapped, Verdict, apply};
use crate::store::{AsyncStore, MaybeSend, Store};
use crate::time::{Clock, Timestamp};

const SHARDS: usize = if cfg!(shuttle) { 2 } else { 64 };

/// Keeps slots in the memory of this process: nothing outlives it, and no other process sees it.
///
/// Bounded by a number of slots: a full store fails with [`StoreError::Full`] rather than evict
/// anything that is still kept. Expired slots are collected a few at a time by the calls that
/// come: there is no thread and no scan.
///
/// ```
/// use idemp::{Idempotency, MemoryStore};
///
/// let idem = Idempotency::new(MemoryStore::new());
/// ```
pub struct MemoryStore {
    shards: Box<[Shard]>,
    hasher: RandomState,
    clock: Box<dyn Clock>,
    count: AtomicUsize,
    capacity: usize,
}

impl MemoryStore {
    /// How many slots a store keeps that was given no other number.
    pub const DEFAULT_CAPACITY: usize = 1 << 20;

    /// An empty store on the system's clock, for [`MemoryStore::DEFAULT_CAPACITY`] slots.
    #[cfg(not(all(target_family = "wasm", target_os = "unknown")))]
    #[must_use]
    pub fn new() -> Self {
        Self::with(crate::time::SystemClock::new(), Self::DEFAULT_CAPACITY)
    }

    /// An empty store on this clock, for at most `capacity` slots.
    #[must_use]
    pub fn with(clock: impl Clock + 'static, capacity: usize) -> Self {
        Self {
            shards: (0..SHARDS).map(|_| Shard::default()).collect(),
            hasher: RandomState::new(),
            clock: Box::new(clock),
            count: AtomicUsize::new(0),
            capacity,
        }
    }

    /// How many slots are held, those not yet collected included.
    #[must_use]
    pub fn len(&self) -> usize {
        self.count.load(Ordering::Relaxed)
    }

    /// Whether no slot is held.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Collects every slot that is gone, now, and says how many. Calls do this bit by bit on
    /// their own; this is for a quiet store that shall give back its memory.
    pub fn purge(&self) -> usize {
        let now = self.clock.now();
        self.shards
            .iter()
            .map(|shard| self.collect(&mut shard.lock(), now, usize::MAX))
            .sum()
    }

    fn collect(&self, slots: &mut Slots, now: Timestamp, at_most: usize) -> usize {
        let collected = slots.collect(now, at_most);
        if collected > 0 {
            self.count.fetch_sub(collected, Ordering::Relaxed);
        }
        collected
    }

    /// Takes a place for a new slot; `false` where there is none.
    fn reserve(&self) -> bool {
        if self.count.fetch_add(1, Ordering::Relaxed) < self.capacity {
            return true;
        }
        self.count.fetch_sub(1, Ordering::Relaxed);
        false
    }

    fn swap_in(&self, slots: &mut Slots, hash: u64, swap: &Swap) -> Result<Swapped, StoreError> {
        // Read under the lock, so that the order of the replies is the order of their times.
        let now = self.clock.now();
        self.collect(slots, now, 2);
        let key = swap.slot.as_bytes();
        let found = slots.get(hash, key);
        let held = found.is_some();
        let mut slot = found.map(Record::slot);
        let reply = apply(&mut slot, swap, now);
        if reply.verdict == Verdict::Won {
            match slot {
                Some(slot) if held => slots.replace(hash, key, &slot),
                Some(slot) if self.reserve() => slots.insert(hash, key, &slot),
                Some(_) => return Err(StoreError::Full),
                None if held => {
                    slots.remove(hash, key);
                    self.count.fetch_sub(1, Ordering::Relaxed);
                }
                None => {}
            }
        }
        Ok(reply)
    }
}

#[cfg(not(all(target_family = "wasm", target_os = "unknown")))]
impl Default for MemoryStore {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for MemoryStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MemoryStore")
            .field("len", &self.len())
            .field("capacity", &self.capacity)
            .finish_non_exhaustive()
    }
}

impl Store for MemoryStore {
    fn swap(&self, swap: &Swap) -> Result<Swapped, StoreError> {
        let hash = self.hasher.hash_one(swap.slot.as_bytes());
        // The low bits place a record in its shard's map, the highest seven tag it there.
        let shard = &self.shards[(hash >> 32) as usize % SHARDS];
        let reply = self.swap_in(&mut shard.lock(), hash, swap);
        // Room may lie in other shards, which were not called for a while.
        if matches!(reply, Err(StoreError::Full)) && self.purge() > 0 {
            return self.swap_in(&mut shard.lock(), hash, swap);
        }
        reply
    }
}

impl AsyncStore for MemoryStore {
    fn swap(&self, swap: &Swap) -> impl Future<Output = Result<Swapped, StoreError>> + MaybeSend {
        std::future::ready(Store::swap(self, swap))
    }
}

/// One lock's part of the slots, on cache lines of its own.
#[derive(Default)]
#[repr(align(128))]
struct Shard(Mutex<Slots>);

impl Shard {
    /// A panic under the lock cannot leave a slot half written, so poison is no reason to stop.
    fn lock(&self) -> MutexGuard<'_, Slots> {
        self.0
            .lock()
            .unwrap_or_else(|poisoned| poisoned.into_inner())
    }
}

/// Slots by the hash of their key, and the order in which they go.
#[derive(Default)]
struct Slots {
    records: HashMap<u64, Record, BuildHasherDefault<TakenAsIs>>,
    /// Records whose hash another record has: next to never, but then they count.
    collided: Vec<(u64, Record)>,
    /// When to look at a record again, by hash: at the time it is gone, as of when it was queued.
    /// One valid entry a record; entries of records that were removed are skipped.
    queue: BinaryHeap<Reverse<(Timestamp, u64)>>,
}

impl Slots {
    fn get(&self, hash: u64, key: &[u8]) -> Option<&Record> {
        match self.records.get(&hash) {
            Some(record) if record.key() == key => Some(record),
            _ => self
                .collided
                .iter()
                .map(|(_, record)| record)
                .find(|record| record.key() == key),
        }
    }

    fn get_mut(&mut self, hash: u64, key: &[u8]) -> Option<&mut Record> {
        match self.records.get_mut(&hash) {
            Some(record) if record.key() == key => Some(record),
            _ => {
                let mut collided = self.collided.iter_mut().map(|(_, record)| record);
                collided.find(|record| record.key() == key)
            }
        }
    }

    fn insert(&mut self, hash: u64, key: &[u8], slot: &Slot) {
        let record = Record::new(key, slot, slot.gone_at);
        match self.records.entry(hash) {
            Entry::Vacant(place) => {
                place.insert(record);
            }
            Entry::Occupied(_) => self.collided.push((hash, record)),
        }
        self.queue.push(Reverse((slot.gone_at, hash)));
        // Removed records leave their entries behind; more of them than records are too many.
        if self.queue.len() > 2 * (self.records.len() + self.collided.len()) + 64 {
            let collided = self.collided.iter().map(|(hash, record)| (hash, record));
            let all = self.records.iter().chain(collided);
            self.queue = all
                .map(|(hash, record)| Reverse((record.queued_at(), *hash)))
                .collect();
        }
    }

    /// Deadlines never move back, so the entry in the queue comes early enough.
    fn replace(&mut self, hash: u64, key: &[u8], slot: &Slot) {
        if let Some(record) = self.get_mut(hash, key) {
            *record = Record::new(key, slot, record.queued_at());
        }
    }

    fn remove(&mut self, hash: u64, key: &[u8]) {
        if self
            .records
            .get(&hash)
            .is_some_and(|record| record.key() == key)
        {
            self.records.remove(&hash);
            if let Some(at) = self.collided.iter().position(|(other, _)| *other == hash) {
                let (_, record) = self.collided.swap_remove(at);
                self.records.insert(hash, record);
            }
        } else {
            self.collided.retain(|(_, record)| record.key() != key);
        }
    }

    /// Drops at most so many records that are gone, and says how many.
    fn collect(&mut self, now: Timestamp, at_most: usize) -> usize {
        let mut collected = 0;
        while collected < at_most {
            match self.queue.peek() {
                Some(Reverse((due, _))) if *due <= now => {}
                _ => break,
            }
            let Some(Reverse((due, hash))) = self.queue.pop() else {
                break;
            };
            let collided = self.collided.iter().filter(|(other, _)| *other == hash);
            let mut all = self
                .records
                .get(&hash)
                .into_iter()
                .chain(collided.map(|(_, r)| r));
            let Some(record) = all.find(|record| record.queued_at() == due) else {
                continue;
            };
            let (key, slot) = (record.key().to_vec(), record.slot());
            if now < slot.gone_at {
                // It was prolonged since: look again when it is due now.
                if let Some(record) = self.get_mut(hash, &key) {
                    *record = Record::new(&key, &slot, slot.gone_at);
                }
                self.queue.push(Reverse((slot.gone_at, hash)));
            } else {
                self.remove(hash, &key);
                collected += 1;
            }
        }
        collected
    }
}

/// A slot with its key in one allocation: `rev` (16 bytes), `lease_until`, `gone_at`, when it is
/// queued (8 each), the lengths of key (2) and head (1), then key, head and body.
struct Record(Arc<[u8]>);

const KEY_AT: usize = 16 + 3 * 8 + 3;

impl Record {
    fn new(key: &[u8], slot: &Slot, queued_at: Timestamp) -> Self {
        let head = slot.head.as_bytes();
        Self(joined(&[
            slot.rev.as_bytes(),
            &slot.lease_until.as_millis().to_le_bytes(),
            &slot.gone_at.as_millis().to_le_bytes(),
            &queued_at.as_millis().to_le_bytes(),
            &(key.len() as u16).to_le_bytes(),
            &[head.len() as u8],
            key,
            head,
            &slot.body,
        ]))
    }

    fn time(&self, index: usize) -> Timestamp {
        Timestamp::from_millis(u64::from_le_bytes(self.array(16 + 8 * index)))
    }

    fn queued_at(&self) -> Timestamp {
        self.time(2)
    }

    fn array<const N: usize>(&self, at: usize) -> [u8; N] {
        let mut bytes = [0; N];
        bytes.copy_from_slice(&self.0[at..at + N]);
        bytes
    }

    fn head_at(&self) -> usize {
        KEY_AT + usize::from(u16::from_le_bytes(self.array(KEY_AT - 3)))
    }

    fn key(&self) -> &[u8] {
        &self.0[KEY_AT..self.head_at()]
    }

    fn slot(&self) -> Slot {
        let head_at = self.head_at();
        let body_at = head_at + usize::from(self.0[KEY_AT - 1]);
        Slot {
            rev: Rev::from_bytes(self.array(0)),
            lease_until: self.time(0),
            gone_at: self.time(1),
            head: Head::from_bytes(&self.0[head_at..body_at]).unwrap_or_default(),
            body: Body::part(self.0.clone(), body_at..self.0.len()),
        }
    }
}

/// Keys of the map are hashes already.
#[derive(Default)]
struct TakenAsIs(u64);

impl Hasher for TakenAsIs {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, _: &[u8]) {
        unreachable!("only u64 is hashed")
    }

    fn write_u64(&mut self, hash: u64) {
        self.0 = hash;
    }
}
