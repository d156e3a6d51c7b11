//! The definition in memory, with one fault or none.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, LazyLock, Mutex, MutexGuard};
use std::time::Duration;

use idemp::{
    AsyncStore, Body, Clock, Expect, Head, NewSlot, Put, Rev, Slot, StoreError, Swap, Swapped,
    Timestamp, Verdict, apply,
};
use idemp_conformance::{Limits, Room, RoomClock, Subject};

/// What is wrong with a store.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// Nothing.
    None,
    // Of more than one client.
    ReadsThenWrites,
    HandsBackWhatItReadBefore,
    ReadsFromItsOwnMemory,
    WritesLater,
    // Of winning.
    ClaimsWhatHasLapsed,
    TakesAnyRevision,
    TakesTheNilRevision,
    KeepsTheOldHead,
    KeepsTheOldBody,
    RemovesNothing,
    CountsSpansInSeconds,
    GoesAMillisecondLate,
    GoesAMillisecondEarly,
    MovesDeadlinesBack,
    KeepsALeaseThatIsGivenUp,
    RemembersTheDeadlinesOfWhatIsGone,
    // Of losing.
    LosesToNothing,
    LosesToWhatIsGone,
    LosesAndPuts,
    LosesAndProlongs,
    BringsBackWhatIsGone,
    // Of keeping.
    PurgesWithTheLease,
    PurgesByName,
    PurgesTheFirstGeneration,
    MiscountsWhatItPurges,
    ForgetsToPurge,
    EvictsTheOldest,
    EvictsWhatHasLapsed,
    SaysWonWhenFull,
    IsUnavailableWhenFull,
    IsNeverFull,
    // Of bytes.
    CutsAtAZero,
    ReadsBytesAsText,
    CutsAt64Kib,
    TrimsTheHead,
    TakesNothingForAbsent,
    // Of errors.
    KnowsAnOwnerByItsHead,
    IsTornWhenGivenUp,
    ComesLateWhenGivenUp,
    IsVacantWhenOutOfReach,
    ShowsTheKey,
    ShowsTheBody,
    // Of names.
    JoinsParts,
    FoldsCase,
    TrimsNames,
    CutsNames,
    ForgetsTheScope,
    // Of trips.
    LosesTwice,
    TakesTwoTrips,
}

pub struct Faulty(pub Fault);

/// What is opened in one room.
#[derive(Default)]
struct Shared {
    slots: HashMap<Vec<u8>, Slot>,
    /// In the order in which they came.
    order: Vec<Vec<u8>>,
    /// What [`Fault::PurgesTheFirstGeneration`] goes by.
    first_gone_at: HashMap<Vec<u8>, Timestamp>,
}

pub struct FaultyStore {
    fault: Fault,
    shared: Arc<Mutex<Shared>>,
    own: Mutex<Own>,
    clock: RoomClock,
    capacity: usize,
    out_of_reach: bool,
    trips: AtomicU64,
}

/// What one opening has for itself, and should not.
#[derive(Default)]
struct Own {
    seen: HashMap<Vec<u8>, Slot>,
    later: Vec<(Vec<u8>, Option<Slot>)>,
    lost_once: HashMap<Vec<u8>, ()>,
}

impl Subject for Faulty {
    type Store = FaultyStore;

    async fn open(&self, room: &Room) -> FaultyStore {
        static ROOMS: LazyLock<Mutex<HashMap<String, Arc<Mutex<Shared>>>>> =
            LazyLock::new(Default::default);
        let mut rooms = ROOMS.lock().unwrap();
        FaultyStore {
            fault: self.0,
            shared: rooms.entry(room.name().to_string()).or_default().clone(),
            own: Default::default(),
            clock: room.clock(),
            capacity: room.capacity().unwrap_or(usize::MAX),
            out_of_reach: false,
            trips: AtomicU64::new(0),
        }
    }

    async fn purge(&self, store: &FaultyStore) -> Option<u64> {
        Some(store.purge().await)
    }

    async fn out_of_reach(&self, room: &Room) -> Option<FaultyStore> {
        let out_of_reach = true;
        Some(FaultyStore {
            out_of_reach,
            ..self.open(room).await
        })
    }

    fn trips(&self, store: &FaultyStore) -> Option<u64> {
        Some(store.trips.load(Ordering::SeqCst))
    }

    fn limits(&self) -> Limits {
        Limits::default().of_one_process()
    }
}

impl FaultyStore {
    fn shared(&self) -> MutexGuard<'_, Shared> {
        self.shared.lock().unwrap()
    }

    async fn purge(&self) -> u64 {
        let now = self.clock.now();
        let until = |slot: &Slot| match self.fault {
            Fault::PurgesWithTheLease => slot.lease_until,
            _ => slot.gone_at,
        };
        let gone: Vec<Vec<u8>> = {
            let shared = self.shared();
            let gone = shared.slots.iter().filter(|(key, slot)| match self.fault {
                Fault::PurgesTheFirstGeneration => shared
                    .first_gone_at
                    .get(*key)
                    .is_some_and(|gone_at| *gone_at <= now),
                _ => until(slot) <= now,
            });
            gone.map(|(key, _)| key.clone()).collect()
        };
        if self.fault == Fault::PurgesByName {
            tokio::time::sleep(Duration::from_micros(500)).await;
        }
        let mut shared = self.shared();
        let mut purged = 0;
        for key in gone {
            let still = shared
                .slots
                .get(&key)
                .is_some_and(|slot| until(slot) <= now);
            let anyway = matches!(
                self.fault,
                Fault::PurgesByName | Fault::PurgesTheFirstGeneration
            );
            if still || anyway {
                purged += u64::from(shared.slots.remove(&key).is_some());
            }
        }
        match self.fault {
            Fault::MiscountsWhatItPurges => purged / 2,
            Fault::ForgetsToPurge => 0,
            _ => purged,
        }
    }

    /// The name that the slot goes by.
    fn key(&self, swap: &Swap) -> Vec<u8> {
        let slot = &swap.slot;
        match self.fault {
            Fault::JoinsParts => [&slot.scope_parts()[..], &[slot.key()]]
                .concat()
                .join(":")
                .into(),
            Fault::FoldsCase => slot.as_bytes().to_ascii_lowercase(),
            Fault::TrimsNames => slot.as_bytes().trim_ascii_end().to_vec(),
            Fault::CutsNames => slot.as_bytes().iter().copied().take(250).collect(),
            Fault::ForgetsTheScope => slot.key().into(),
            _ => slot.as_bytes().to_vec(),
        }
    }

    fn spoil(&self, new: &NewSlot) -> NewSlot {
        let mut new = new.clone();
        let cut = |body: &Body, end: usize| Body::from(&body[..end.min(body.len())]);
        match self.fault {
            Fault::CutsAtAZero => {
                let end = new.body.iter().position(|byte| *byte == 0);
                new.body = cut(&new.body, end.unwrap_or(usize::MAX));
            }
            Fault::ReadsBytesAsText => {
                new.body = Body::from(String::from_utf8_lossy(&new.body).as_bytes());
            }
            Fault::CutsAt64Kib => new.body = cut(&new.body, 65_535),
            Fault::TrimsTheHead => {
                let head = new.head.as_bytes();
                let end = head
                    .iter()
                    .rposition(|byte| *byte != 0)
                    .map_or(0, |at| at + 1);
                new.head = Head::from_bytes(&head[..end]).unwrap();
            }
            Fault::CountsSpansInSeconds => {
                new.keep_for = Duration::from_secs(new.keep_for.as_secs());
            }
            _ => {}
        }
        new
    }

    /// What `apply` does, spoilt.
    fn apply(&self, slot: &mut Option<Slot>, swap: &Swap, now: Timestamp) -> Swapped {
        use Fault as F;
        let before = slot.clone();
        let mut swap = swap.clone();
        if let Put::Slot(new) = &swap.put {
            swap.put = Put::Slot(self.spoil(new));
        }
        let ms = |at: Timestamp, by: i64| {
            Timestamp::from_millis(at.as_millis().saturating_add_signed(by))
        };
        let is_read = swap.expect == Expect::Rev(Rev::NIL);
        // The slot as the fault sees it, before `apply` looks at it.
        match (self.fault, &mut *slot) {
            (F::ClaimsWhatHasLapsed, there) if swap.expect == Expect::Vacant => {
                there.take_if(|slot| slot.lease_until <= now);
            }
            (F::TakesAnyRevision, Some(there)) if !is_read => {
                if let Expect::Rev(rev) = swap.expect {
                    there.rev = rev;
                }
            }
            (F::TakesTheNilRevision, Some(there)) if is_read && now < there.gone_at => {
                swap.expect = Expect::Rev(there.rev);
            }
            (F::TakesTheNilRevision, None) if is_read => swap.expect = Expect::Vacant,
            (F::BringsBackWhatIsGone, Some(there)) if !is_read && swap.expect != Expect::Vacant => {
                there.gone_at = there.gone_at.max(ms(now, 1));
            }
            (F::GoesAMillisecondLate, Some(there)) => there.gone_at = ms(there.gone_at, 1),
            (F::GoesAMillisecondEarly, Some(there)) => there.gone_at = ms(there.gone_at, -1),
            _ => {}
        }
        let mut reply = apply(slot, &swap, now);
        if let (F::GoesAMillisecondLate | F::GoesAMillisecondEarly, Verdict::Lost(Some(by))) =
            (self.fault, &mut reply.verdict)
        {
            *by = before.clone().unwrap();
        }
        if reply.verdict == Verdict::Won {
            self.spoil_won(slot, before, &swap, now);
        } else {
            *slot = before;
            self.spoil_lost(slot, &swap, &mut reply);
        }
        reply
    }

    fn spoil_won(
        &self,
        slot: &mut Option<Slot>,
        before: Option<Slot>,
        swap: &Swap,
        now: Timestamp,
    ) {
        use Fault as F;
        let Put::Slot(new) = &swap.put else {
            if self.fault == F::RemovesNothing {
                *slot = before;
            }
            return;
        };
        let Some(there) = slot else { return };
        match (self.fault, before) {
            (F::KeepsTheOldHead, Some(before)) => there.head = before.head,
            (F::KeepsTheOldBody, Some(before)) => there.body = before.body,
            (F::MovesDeadlinesBack, _) => {
                (there.lease_until, there.gone_at) = new.deadlines(None, now);
            }
            (F::KeepsALeaseThatIsGivenUp, Some(before)) => {
                there.lease_until = before.lease_until.max(there.lease_until);
            }
            (F::RemembersTheDeadlinesOfWhatIsGone, Some(before)) => {
                there.lease_until = before.lease_until.max(there.lease_until);
            }
            (F::TakesNothingForAbsent, _)
                if there.body.is_empty() && there.head.as_bytes().is_empty() =>
            {
                *slot = None;
            }
            _ => {}
        }
    }

    fn spoil_lost(&self, slot: &mut Option<Slot>, swap: &Swap, reply: &mut Swapped) {
        use Fault as F;
        let is_read = swap.expect == Expect::Rev(Rev::NIL);
        let Some(there) = slot else { return };
        match (self.fault, &swap.put) {
            (F::LosesToNothing, _) if !is_read => reply.verdict = Verdict::Lost(None),
            (F::LosesToWhatIsGone, _) => reply.verdict = Verdict::Lost(Some(there.clone())),
            (F::LosesAndPuts, Put::Slot(new)) if !is_read => there.body = new.body.clone(),
            (F::LosesAndProlongs, _) if !is_read => {
                there.gone_at = there.gone_at + Duration::from_millis(1);
            }
            (F::KnowsAnOwnerByItsHead, Put::Slot(new))
                if swap.expect == Expect::Vacant
                    && owner_in(&new.head) == owner_in(&there.head) =>
            {
                reply.verdict = Verdict::Won;
            }
            _ => {}
        }
    }

    fn make_room(&self, shared: &mut Shared, now: Timestamp) -> Result<(), StoreError> {
        shared.slots.retain(|_, slot| now < slot.gone_at);
        if shared.slots.len() < self.capacity {
            return Ok(());
        }
        let Shared { slots, order, .. } = shared;
        let victim = match self.fault {
            Fault::IsNeverFull => return Ok(()),
            Fault::EvictsTheOldest => order.iter().find(|key| slots.contains_key(*key)),
            Fault::EvictsWhatHasLapsed => slots
                .iter()
                .find(|(_, slot)| slot.lease_until <= now)
                .map(|(key, _)| key),
            _ => None,
        };
        match victim.cloned() {
            Some(victim) => {
                slots.remove(&victim);
                Ok(())
            }
            None if self.fault == Fault::IsUnavailableWhenFull => {
                Err(StoreError::unavailable("no room"))
            }
            None => Err(StoreError::Full),
        }
    }

    fn unreachable(&self, swap: &Swap) -> Result<Swapped, StoreError> {
        let text = match (self.fault, &swap.put) {
            (Fault::IsVacantWhenOutOfReach, _) => {
                let (now, verdict) = (self.clock.now(), Verdict::Lost(None));
                return Ok(Swapped { now, verdict });
            }
            (Fault::ShowsTheKey, _) => format!("no answer about {}", swap.slot.key()),
            (Fault::ShowsTheBody, Put::Slot(new)) => format!("no answer about {:?}", &new.body[..]),
            _ => "no answer".to_string(),
        };
        Err(StoreError::unavailable(text))
    }

    /// The whole swap, under the lock.
    fn swap_at_once(&self, swap: &Swap) -> Result<Swapped, StoreError> {
        let key = self.key(swap);
        let mut own = self.own.lock().unwrap();
        let mut shared = self.shared();
        for (key, slot) in own.later.drain(..) {
            match slot {
                Some(slot) => shared.slots.insert(key, slot),
                None => shared.slots.remove(&key),
            };
        }
        let now = self.clock.now();
        let mut slot = shared.slots.get(&key).cloned();
        if self.fault == Fault::ReadsFromItsOwnMemory && swap.expect == Expect::Rev(Rev::NIL) {
            slot = own.seen.get(&key).cloned().or(slot);
        }
        let was_there = slot.is_some();
        let reply = self.apply(&mut slot, swap, now);
        if reply.verdict == Verdict::Won && slot.is_some() && !was_there {
            match self.make_room(&mut shared, now) {
                Err(StoreError::Full) if self.fault == Fault::SaysWonWhenFull => return Ok(reply),
                made => made?,
            }
            shared.order.push(key.clone());
        }
        if self.fault == Fault::LosesTwice
            && matches!(reply.verdict, Verdict::Lost(Some(_)))
            && own.lost_once.insert(key.clone(), ()).is_none()
        {
            let verdict = Verdict::Lost(None);
            return Ok(Swapped { now, verdict });
        }
        own.lost_once.remove(&key);
        match &slot {
            Some(slot) => own.seen.insert(key.clone(), slot.clone()),
            None => own.seen.remove(&key),
        };
        if self.fault == Fault::WritesLater {
            own.later.push((key, slot));
        } else if let Some(slot) = slot {
            let gone_at = slot.gone_at;
            shared.first_gone_at.entry(key.clone()).or_insert(gone_at);
            shared.slots.insert(key, slot);
        } else {
            shared.slots.remove(&key);
            shared.first_gone_at.remove(&key);
        }
        Ok(reply)
    }

    fn peek(&self, key: &[u8]) -> Option<Slot> {
        self.shared().slots.get(key).cloned()
    }

    fn write(&self, key: Vec<u8>, slot: Option<Slot>) {
        let mut shared = self.shared();
        match slot {
            Some(slot) => shared.slots.insert(key, slot),
            None => shared.slots.remove(&key),
        };
    }
}

impl AsyncStore for FaultyStore {
    async fn swap(&self, swap: &Swap) -> Result<Swapped, StoreError> {
        self.trips.fetch_add(1, Ordering::SeqCst);
        if self.out_of_reach {
            return self.unreachable(swap);
        }
        let key = self.key(swap);
        match self.fault {
            Fault::ReadsThenWrites => {
                let mut slot = self.peek(&key);
                tokio::task::yield_now().await;
                let reply = self.apply(&mut slot, swap, self.clock.now());
                if reply.verdict == Verdict::Won {
                    self.write(key, slot);
                }
                return Ok(reply);
            }
            Fault::HandsBackWhatItReadBefore => {
                let now = self.clock.now();
                let before = self.peek(&key).filter(|slot| now < slot.gone_at);
                tokio::task::yield_now().await;
                let mut reply = self.swap_at_once(swap)?;
                if matches!(reply.verdict, Verdict::Lost(_)) {
                    reply.verdict = Verdict::Lost(before);
                }
                return Ok(reply);
            }
            Fault::IsTornWhenGivenUp if swap.expect != Expect::Rev(Rev::NIL) => {
                let mut slot = self.peek(&key);
                let before = slot.clone();
                let now = self.clock.now();
                let won = apply(&mut slot, swap, now).verdict == Verdict::Won;
                if let (true, Some(mut half), Some(before)) = (won, slot, before) {
                    half.body = before.body.clone();
                    self.write(key.clone(), Some(half));
                    tokio::task::yield_now().await;
                    self.write(key, Some(before));
                }
            }
            Fault::ComesLateWhenGivenUp => {
                let _late = Late(self, swap, true);
                tokio::task::yield_now().await;
                let mut late = _late;
                late.2 = false;
            }
            Fault::TakesTwoTrips => {
                self.trips.fetch_add(1, Ordering::SeqCst);
            }
            _ => {}
        }
        self.swap_at_once(swap)
    }
}

/// A swap that was given up comes all the same, later, and asks nobody.
struct Late<'a>(&'a FaultyStore, &'a Swap, bool);

impl Drop for Late<'_> {
    fn drop(&mut self) {
        let Put::Slot(new) = &self.1.put else { return };
        if !self.2 {
            return;
        }
        let (shared, key, new) = (self.0.shared.clone(), self.0.key(self.1), new.clone());
        let clock = self.0.clock.clone();
        tokio::spawn(async move {
            tokio::time::sleep(Duration::from_millis(1)).await;
            let (lease_until, gone_at) = new.deadlines(None, clock.now());
            let NewSlot {
                rev, head, body, ..
            } = new;
            let slot = Slot {
                rev,
                lease_until,
                gone_at,
                head,
                body,
            };
            shared.lock().unwrap().slots.insert(key, slot);
        });
    }
}

/// Where core writes the owner in a head.
fn owner_in(head: &Head) -> Option<&[u8]> {
    head.as_bytes().get(35..51)
}
