//! [`MemoryStore`]: the store of one process.

use std::cmp::Reverse;
use std::collections::hash_map::{Entry, RandomState};
use std::collections::{BinaryHeap, HashMap, VecDeque};
use std::fmt;
use std::future::Future;
use std::hash::{BuildHasher, BuildHasherDefault, Hasher};
use std::sync::Arc;
use std::task::Poll;

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
    count: Count,
    capacity: usize,
}

/// How many slots there are, on cache lines of its own: what is beside it is only read.
#[repr(align(128))]
struct Count(AtomicUsize);

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
            count: Count(AtomicUsize::new(0)),
            capacity,
        }
    }

    /// How many slots are held, those not yet collected included.
    #[must_use]
    pub fn len(&self) -> usize {
        self.count.0.load(Ordering::Relaxed)
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

    /// Removes every slot whose name begins with these bytes, live ones too, and says how many: for
    /// a person who leaves. The beginning of all names of a scope is that of
    /// [`SlotKey::as_bytes`](crate::SlotKey::as_bytes), without the key.
    pub fn forget(&self, prefix: &[u8]) -> usize {
        let shards = self.shards.iter();
        let forgotten = shards.map(|shard| shard.lock().forget(prefix)).sum();
        self.count.0.fetch_sub(forgotten, Ordering::Relaxed);
        forgotten
    }

    fn collect(&self, slots: &mut Slots, now: Timestamp, at_most: usize) -> usize {
        let collected = slots.collect(now, at_most);
        if collected > 0 {
            self.count.0.fetch_sub(collected, Ordering::Relaxed);
        }
        collected
    }

    /// Takes a place for a new slot; `false` where there is none.
    fn reserve(&self) -> bool {
        if self.count.0.fetch_add(1, Ordering::Relaxed) < self.capacity {
            return true;
        }
        self.count.0.fetch_sub(1, Ordering::Relaxed);
        false
    }

    /// Takes a place that expired slots leave, here or in shards that were not called for a while.
    /// One that another call holds is passed over: to wait for it with a lock in hand would be a
    /// way to wait for ever.
    fn make_room(&self, slots: &mut Slots, now: Timestamp) -> bool {
        self.collect(slots, now, usize::MAX);
        let others = self
            .shards
            .iter()
            .filter_map(|shard| shard.0.try_lock().ok());
        let mut collected = others.map(|mut other| self.collect(&mut other, now, usize::MAX));
        self.reserve() || collected.any(|collected| collected > 0 && self.reserve())
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
                Some(slot) if self.reserve() || self.make_room(slots, now) => {
                    slots.insert(hash, key, &slot);
                }
                Some(_) => return Err(StoreError::Full),
                None if held => {
                    slots.remove(hash, |kept| kept.record.key() == key);
                    self.count.0.fetch_sub(1, Ordering::Relaxed);
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
        self.swap_in(&mut shard.lock(), hash, swap)
    }
}

impl AsyncStore for MemoryStore {
    fn swap(&self, swap: &Swap) -> impl Future<Output = Result<Swapped, StoreError>> + MaybeSend {
        std::future::poll_fn(|_| Poll::Ready(Store::swap(self, swap)))
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
    records: HashMap<u64, Kept, BuildHasherDefault<TakenAsIs>>,
    /// Records whose hash another record has: next to never, but then they count.
    collided: Vec<(u64, Kept)>,
    queue: Queue,
}

struct Kept {
    record: Record,
    queued_at: Timestamp,
}

impl Slots {
    fn get(&self, hash: u64, key: &[u8]) -> Option<&Record> {
        match self.records.get(&hash) {
            Some(kept) if kept.record.key() == key => Some(&kept.record),
            _ => {
                let mut collided = self.collided.iter().map(|(_, kept)| &kept.record);
                collided.find(|record| record.key() == key)
            }
        }
    }

    fn find(&mut self, hash: u64, is: impl Fn(&Kept) -> bool) -> Option<&mut Kept> {
        match self.records.get_mut(&hash) {
            Some(kept) if is(kept) => Some(kept),
            _ => {
                let mut collided = self.collided.iter_mut();
                let found = collided.find(|(other, kept)| *other == hash && is(kept));
                found.map(|(_, kept)| kept)
            }
        }
    }

    fn insert(&mut self, hash: u64, key: &[u8], slot: &Slot) {
        let (record, queued_at) = (Record::new(key, slot), slot.gone_at);
        let kept = Kept { record, queued_at };
        match self.records.entry(hash) {
            Entry::Vacant(place) => {
                place.insert(kept);
            }
            Entry::Occupied(_) => self.collided.push((hash, kept)),
        }
        self.queue.push(queued_at, hash);
        // Removed records leave their entries behind; more of them than records are too many.
        if self.queue.len() > 2 * (self.records.len() + self.collided.len()) + 64 {
            let collided = self.collided.iter().map(|(hash, kept)| (hash, kept));
            let all = self.records.iter().chain(collided);
            let due = all.map(|(hash, kept)| Reverse((kept.queued_at, *hash)));
            (self.queue.in_turn, self.queue.out_of_turn) = (VecDeque::new(), due.collect());
        }
    }

    /// Deadlines never move back, so the entry in the queue comes early enough.
    fn replace(&mut self, hash: u64, key: &[u8], slot: &Slot) {
        if let Some(kept) = self.find(hash, |kept| kept.record.key() == key) {
            kept.record = Record::new(key, slot);
        }
    }

    fn remove(&mut self, hash: u64, is: impl Fn(&Kept) -> bool) {
        if self.records.get(&hash).is_some_and(&is) {
            self.records.remove(&hash);
            if let Some(at) = self.collided.iter().position(|(other, _)| *other == hash) {
                let (_, kept) = self.collided.swap_remove(at);
                self.records.insert(hash, kept);
            }
        } else {
            self.collided
                .retain(|(other, kept)| *other != hash || !is(kept));
        }
    }

    fn forget(&mut self, prefix: &[u8]) -> usize {
        let stays = |kept: &Kept| !kept.record.key().starts_with(prefix);
        let before = self.records.len() + self.collided.len();
        self.records.retain(|_, kept| stays(kept));
        self.collided.retain(|(_, kept)| stays(kept));
        // A hash whose record went is free for one that had to stand aside.
        for (hash, kept) in std::mem::take(&mut self.collided) {
            match self.records.entry(hash) {
                Entry::Vacant(place) => {
                    place.insert(kept);
                }
                Entry::Occupied(_) => self.collided.push((hash, kept)),
            }
        }
        before - self.records.len() - self.collided.len()
    }

    /// Drops at most so many records that are gone, and says how many.
    fn collect(&mut self, now: Timestamp, at_most: usize) -> usize {
        let mut collected = 0;
        while collected < at_most {
            let Some((due, hash)) = self.queue.pop(now) else {
                break;
            };
            let Some(kept) = self.find(hash, |kept| kept.queued_at == due) else {
                continue;
            };
            let gone_at = kept.record.gone_at();
            if now < gone_at {
                // It was prolonged since: look again when it is due now.
                kept.queued_at = gone_at;
                self.queue.push(gone_at, hash);
            } else {
                self.remove(hash, |kept| kept.queued_at == due);
                collected += 1;
            }
        }
        collected
    }
}

/// When to look at a record again, by hash. One valid entry a record, with the time that the record
/// says; other entries are of records that were removed, and are skipped.
#[derive(Default)]
struct Queue {
    /// Those that came in the order in which they are due: all of them, where slots are kept for
    /// one span. First in, first out costs less than a heap.
    in_turn: VecDeque<(Timestamp, u64)>,
    out_of_turn: BinaryHeap<Reverse<(Timestamp, u64)>>,
}

impl Queue {
    fn len(&self) -> usize {
        self.in_turn.len() + self.out_of_turn.len()
    }

    fn push(&mut self, due: Timestamp, hash: u64) {
        match self.in_turn.back() {
            Some((last, _)) if due < *last => self.out_of_turn.push(Reverse((due, hash))),
            _ => self.in_turn.push_back((due, hash)),
        }
    }

    /// Takes the entry that is due first, if it is by now.
    fn pop(&mut self, now: Timestamp) -> Option<(Timestamp, u64)> {
        let in_turn = self.in_turn.front().copied();
        let out_of_turn = self.out_of_turn.peek().map(|Reverse(entry)| *entry);
        match (in_turn, out_of_turn) {
            (Some(first), other) if first.0 <= now && other.is_none_or(|other| first <= other) => {
                self.in_turn.pop_front()
            }
            (_, Some(first)) if first.0 <= now => self.out_of_turn.pop().map(|Reverse(e)| e),
            _ => None,
        }
    }
}

/// A slot with its key in one allocation: `rev` (16 bytes), `lease_until`, `gone_at` (8 each), the
/// lengths of key (2) and head (1), then key, head and body.
enum Record {
    Joined(Arc<[u8]>),
    /// Behind the head follows nothing: the body is shared with whoever put it.
    Apart(Box<(Arc<[u8]>, Body)>),
}

const KEY_AT: usize = 16 + 2 * 8 + 3;

/// A body of at least so many bytes is worth two allocations not to be copied.
const SHARED_FROM: usize = 512;

impl Record {
    fn new(key: &[u8], slot: &Slot) -> Self {
        let head = slot.head.as_bytes();
        // A part of something larger would keep all of that in memory.
        let apart = slot.body.len() >= SHARED_FROM && slot.body.is_whole();
        let fixed = joined(&[
            slot.rev.as_bytes(),
            &slot.lease_until.as_millis().to_le_bytes(),
            &slot.gone_at.as_millis().to_le_bytes(),
            &(key.len() as u16).to_le_bytes(),
            &[head.len() as u8],
            key,
            head,
            if apart { b"" } else { &slot.body },
        ]);
        match apart {
            true => Self::Apart(Box::new((fixed, slot.body.clone()))),
            false => Self::Joined(fixed),
        }
    }

    fn fixed(&self) -> &Arc<[u8]> {
        match self {
            Self::Joined(fixed) => fixed,
            Self::Apart(apart) => &apart.0,
        }
    }

    fn time(&self, index: usize) -> Timestamp {
        Timestamp::from_millis(u64::from_le_bytes(self.array(16 + 8 * index)))
    }

    fn gone_at(&self) -> Timestamp {
        self.time(1)
    }

    fn array<const N: usize>(&self, at: usize) -> [u8; N] {
        let mut bytes = [0; N];
        bytes.copy_from_slice(&self.fixed()[at..at + N]);
        bytes
    }

    fn head_at(&self) -> usize {
        KEY_AT + usize::from(u16::from_le_bytes(self.array(KEY_AT - 3)))
    }

    fn key(&self) -> &[u8] {
        &self.fixed()[KEY_AT..self.head_at()]
    }

    fn slot(&self) -> Slot {
        let head_at = self.head_at();
        let fixed = self.fixed();
        let body_at = head_at + usize::from(fixed[KEY_AT - 1]);
        Slot {
            rev: Rev::from_bytes(self.array(0)),
            lease_until: self.time(0),
            gone_at: self.gone_at(),
            head: Head::from_bytes(&fixed[head_at..body_at]).unwrap_or_default(),
            body: match self {
                Self::Joined(fixed) => Body::part(fixed.clone(), body_at..fixed.len()),
                Self::Apart(apart) => apart.1.clone(),
            },
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::slot::Head;

    fn slot(body: Body) -> Slot {
        let time = Timestamp::from_millis(7);
        let head = Head::from_bytes(b"head").unwrap_or_default();
        Slot {
            rev: Rev::from_bytes([9; 16]),
            lease_until: time,
            gone_at: time,
            head,
            body,
        }
    }

    #[test]
    fn a_record_gives_back_its_slot_however_it_keeps_the_body() {
        for length in [0, 1, SHARED_FROM - 1, SHARED_FROM, 100_000] {
            let shared: Arc<[u8]> = (0..length).map(|n| n as u8).collect();
            let part = Body::part(shared.clone(), 0..length - length / 3);
            for body in [Body::from(shared), part] {
                let record = Record::new(b"key", &slot(body.clone()));
                assert_eq!(record.key(), b"key");
                assert_eq!(record.slot(), slot(body));
            }
        }
    }

    #[test]
    fn two_keys_with_one_hash_are_two_slots_in_every_order_of_going() {
        let at = Timestamp::from_millis;
        let of = |gone_at| Slot {
            gone_at: at(gone_at),
            ..slot(Body::default())
        };
        for order in [[b"a", b"b", b"c"], [b"c", b"a", b"b"], [b"b", b"c", b"a"]] {
            let mut slots = Slots::default();
            for (n, key) in (10..).zip([b"a", b"b", b"c"]) {
                slots.insert(1, key, &of(n));
            }
            for (gone, key) in order.iter().enumerate() {
                slots.remove(1, |kept| kept.record.key() == *key);
                let left = order.map(|key| slots.get(1, key).is_some());
                assert_eq!(left, [false, gone < 1, gone < 2]);
            }
            for (n, key) in (10..).zip([b"a", b"b", b"c"]) {
                slots.insert(1, key, &of(n));
            }
            slots.replace(1, b"a", &of(20));
            assert_eq!(
                slots.collect(at(12), usize::MAX),
                2,
                "b and c are gone, a was prolonged"
            );
            assert!(slots.get(1, b"a").is_some());
            assert_eq!(slots.collect(at(20), usize::MAX), 1);
            assert!(slots.records.is_empty() && slots.collided.is_empty());
        }
    }

    #[test]
    fn what_is_forgotten_leaves_the_place_to_what_had_to_stand_aside() {
        for (prefix, left) in [(&b"a"[..], 2), (b"b", 2), (b"c", 2), (b"", 0), (b"d", 3)] {
            let mut slots = Slots::default();
            for key in [b"a", b"b", b"c"] {
                slots.insert(1, key, &slot(Body::default()));
            }
            assert_eq!(slots.forget(prefix), 3 - left);
            assert_eq!(slots.records.len(), left.min(1));
            for key in [b"a", b"b", b"c"] {
                let stays = !key.starts_with(prefix);
                assert_eq!(slots.get(1, key).is_some(), stays);
            }
        }
    }

    #[test]
    fn a_part_of_something_large_does_not_keep_it_in_memory() {
        let large: Arc<[u8]> = vec![1; 1 << 20].into();
        let record = Record::new(b"key", &slot(Body::part(large.clone(), 0..1000)));
        assert_eq!(Arc::strong_count(&large), 1);
        assert_eq!(record.slot().body.len(), 1000);
        assert_eq!(
            size_of::<Record>(),
            16,
            "a map of a million holds them in place"
        );
    }
}
