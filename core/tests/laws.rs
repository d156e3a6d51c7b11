//! The eight laws of `swap` (see `slot.rs`), for any store that is given a clock to be set by
//! hand: a function for each, generic over how a store is made.

mod story;

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use idemp::{
    Begin, Body, Clock, Decision, Expect, Head, Key, LeaseReply, LeaseToken, Machine, MemoryStore,
    NewSlot, Put, Rev, Scope, Slot, SlotKey, Step, Store, StoreError, Swap, Swapped, Timestamp,
    Verb, Verdict, apply,
};
use story::{ALICE, AT, BOB, MS, SAME, Story};

/// A clock that stands until it is set.
#[derive(Clone, Default)]
struct HandSet(Arc<AtomicU64>);

impl HandSet {
    fn set(&self, millis: u64) {
        self.0.store(millis, Ordering::SeqCst);
    }
}

impl Clock for HandSet {
    fn now(&self) -> Timestamp {
        AT(self.0.load(Ordering::SeqCst))
    }
}

/// How to make a store: empty, on this clock, with room for so many slots where it is bounded.
trait Make: Fn(HandSet, usize) -> Self::Made {
    type Made: Store;
}

impl<S: Store, F: Fn(HandSet, usize) -> S> Make for F {
    type Made = S;
}

/// The definition itself, behind a lock.
#[derive(Default)]
struct Definition {
    slots: Mutex<std::collections::HashMap<Vec<u8>, Option<Slot>>>,
    clock: HandSet,
    capacity: usize,
}

impl Store for Definition {
    fn swap(&self, swap: &Swap) -> Result<Swapped, StoreError> {
        let mut slots = self.slots.lock().unwrap();
        let now = self.clock.now();
        slots.retain(|_, slot| slot.as_ref().is_some_and(|slot| now < slot.gone_at));
        let full = slots.len() >= self.capacity;
        let key = swap.slot.as_bytes().to_vec();
        let mut slot = slots.get(&key).cloned().flatten();
        let is_new = slot.is_none();
        let reply = apply(&mut slot, swap, now);
        if reply.verdict == Verdict::Won && slot.is_some() && is_new && full {
            return Err(StoreError::Full);
        }
        slots.insert(key, slot);
        Ok(reply)
    }
}

fn key(scope: &[&str], key: &str) -> SlotKey {
    SlotKey::new(&Scope::new(scope).unwrap(), &Key::new(key).unwrap())
}

fn one() -> SlotKey {
    key(&["tenant-7"], "final-1769660861")
}

fn rev(n: u8) -> Rev {
    Rev::from_bytes([n; 16])
}

fn new(n: u8, lease: u64, keep: u64) -> NewSlot {
    NewSlot {
        rev: rev(n),
        lease_for: MS(lease),
        keep_for: MS(keep),
        head: Head::from_bytes(&[n, 0, 255]).unwrap(),
        body: vec![n; 3].into(),
    }
}

fn put(slot: SlotKey, expect: Expect, new: NewSlot) -> Swap {
    let put = Put::Slot(new);
    Swap { slot, expect, put }
}

fn ask(store: &impl Store, swap: &Swap) -> Verdict {
    store.swap(swap).unwrap().verdict
}

fn read(store: &impl Store, slot: &SlotKey) -> Option<Slot> {
    match ask(store, &Swap::read(slot.clone())) {
        Verdict::Lost(slot) => slot,
        Verdict::Won => panic!("a read changed something"),
    }
}

fn at_noon<M: Make>(make: &M) -> (M::Made, HandSet) {
    let clock = HandSet::default();
    clock.set(10_000);
    (make(clock.clone(), 1_000), clock)
}

fn law_1_a_swap_is_atomic_for_every_other_client<M: Make>(make: &M) {
    for clients in [2, 10, 50] {
        let (store, _) = at_noon(make);
        let won = AtomicUsize::new(0);
        let line = std::sync::Barrier::new(clients);
        std::thread::scope(|scope| {
            for client in 0..clients {
                let (store, won, line) = (&store, &won, &line);
                scope.spawn(move || {
                    line.wait();
                    // All claim the vacant slot, then all count it up by their own hand.
                    let mine = put(one(), Expect::Vacant, new(1 + client as u8, 9, 999));
                    if ask(store, &mine) == Verdict::Won {
                        won.fetch_add(1, Ordering::SeqCst);
                    }
                    for step in 0..20u8 {
                        loop {
                            let seen = read(store, &one()).unwrap();
                            let mut next = new(0, 9, 999);
                            next.rev = Rev::from_bytes({
                                let mut bytes = [step; 16];
                                bytes[0] = 1 + client as u8;
                                bytes[1..9].copy_from_slice(&count(&seen).to_be_bytes());
                                bytes
                            });
                            next.body = (count(&seen) + 1).to_be_bytes()[..].into();
                            let swap = put(one(), Expect::Rev(seen.rev), next);
                            if ask(store, &swap) == Verdict::Won {
                                break;
                            }
                        }
                    }
                });
            }
        });
        assert_eq!(won.into_inner(), 1, "{clients} clients, one winner");
        let counted = count(&read(&store, &one()).unwrap());
        assert_eq!(counted, 20 * clients as u64, "no step was lost");
    }
}

fn count(slot: &Slot) -> u64 {
    <[u8; 8]>::try_from(&slot.body[..]).map_or(0, u64::from_be_bytes)
}

fn law_2_a_swap_wins_if_and_only_if_the_comparison_held_and_replaces_the_whole_slot<M: Make>(
    make: &M,
) {
    let slots = [None, Some(new(1, 100, 1_000))];
    let expectations = [
        Expect::Vacant,
        Expect::Rev(rev(1)),
        Expect::Rev(rev(9)),
        Expect::Rev(Rev::NIL),
    ];
    let puts = [
        Put::Slot(new(2, 50, 500)),
        Put::Slot(new(2, 0, 5_000)),
        Put::Remove,
    ];
    for lies in &slots {
        for expect in expectations {
            for what in &puts {
                for now in [10_000, 10_099, 10_100, 10_999, 11_000, 9_000] {
                    let (store, clock) = at_noon(make);
                    let mut defined = None;
                    if let Some(lies) = lies {
                        let lay = put(one(), Expect::Vacant, lies.clone());
                        assert_eq!(ask(&store, &lay), Verdict::Won);
                        apply(&mut defined, &lay, AT(10_000));
                    }
                    clock.set(now);
                    let swap = Swap {
                        slot: one(),
                        expect,
                        put: what.clone(),
                    };
                    let expected = apply(&mut defined, &swap, AT(now));
                    assert_eq!(store.swap(&swap).unwrap(), expected, "{swap:?} at {now}");
                    let there = defined.filter(|slot| AT(now) < slot.gone_at);
                    assert_eq!(read(&store, &one()), there, "{swap:?} at {now}");
                }
            }
        }
    }
}

fn law_3_a_lost_swap_changes_nothing_and_returns_what_defeated_it<M: Make>(make: &M) {
    let (store, clock) = at_noon(make);
    let _ = ask(&store, &put(one(), Expect::Vacant, new(1, 100, 1_000)));
    let lying = read(&store, &one());
    for expect in [Expect::Vacant, Expect::Rev(rev(9)), Expect::Rev(Rev::NIL)] {
        for what in [Put::Slot(new(2, 1, 1)), Put::Remove] {
            let swap = Swap {
                slot: one(),
                expect,
                put: what,
            };
            assert_eq!(ask(&store, &swap), Verdict::Lost(lying.clone()));
            assert_eq!(read(&store, &one()), lying);
        }
    }
    clock.set(11_000);
    let late = put(one(), Expect::Rev(rev(1)), new(2, 1, 1));
    assert_eq!(
        ask(&store, &late),
        Verdict::Lost(None),
        "never one that is gone"
    );
    let vacant = put(one(), Expect::Vacant, new(3, 1, 1));
    assert_eq!(ask(&store, &vacant), Verdict::Won);
}

fn law_4_nothing_goes_before_its_time_and_a_full_store_fails_loudly<M: Make>(make: &M) {
    let clock = HandSet::default();
    clock.set(10_000);
    let store = make(clock.clone(), 8);
    let names: Vec<SlotKey> = (0..8)
        .map(|n| key(&["tenant-7"], &format!("key-{n}")))
        .collect();
    for (n, name) in names.iter().enumerate() {
        let lease = if n % 2 == 0 { 100 } else { 0 };
        let swap = put(name.clone(), Expect::Vacant, new(1 + n as u8, lease, 1_000));
        assert_eq!(ask(&store, &swap), Verdict::Won);
    }
    let one_more = put(one(), Expect::Vacant, new(99, 100, 1_000));
    for now in [10_000, 10_100, 10_999] {
        clock.set(now);
        assert!(
            matches!(store.swap(&one_more), Err(StoreError::Full)),
            "{now}"
        );
        for (n, name) in names.iter().enumerate() {
            let slot = read(&store, name).expect("evicted before its time");
            assert_eq!(slot.rev, rev(1 + n as u8));
        }
        // A full store still serves those who are in it.
        let swap = put(names[0].clone(), Expect::Rev(rev(1)), new(1, 100, 1));
        assert_eq!(ask(&store, &swap), Verdict::Won);
    }
    clock.set(11_000);
    assert_eq!(
        ask(&store, &one_more),
        Verdict::Won,
        "what is gone makes room"
    );
}

fn law_5_head_and_body_come_back_byte_for_byte<M: Make>(make: &M) {
    let every_byte: Vec<u8> = (0..=255).collect();
    let bodies: [&[u8]; 6] = [
        b"",
        b"\0",
        b"0",
        b"\xff\xfe\x00\x80",
        &every_byte,
        &[0; 70_000],
    ];
    let longest = every_byte[255 - Head::MAX_BYTES..].to_vec();
    let heads: [&[u8]; 4] = [b"", b"\0", b"\xff\x00\xff", &longest[..Head::MAX_BYTES]];
    for body in bodies {
        for head in heads {
            let (store, _) = at_noon(make);
            let mut new = new(1, 100, 1_000);
            new.head = Head::from_bytes(head).unwrap();
            new.body = Body::from(body);
            assert_eq!(ask(&store, &put(one(), Expect::Vacant, new)), Verdict::Won);
            let slot = read(&store, &one()).unwrap();
            assert_eq!((slot.head.as_bytes(), &slot.body[..]), (head, body));
        }
    }
}

/// A store whose answers get lost on their way.
struct Deaf<'a, S> {
    store: &'a S,
    lost: AtomicUsize,
}

impl<S: Store> Store for Deaf<'_, S> {
    fn swap(&self, swap: &Swap) -> Result<Swapped, StoreError> {
        let reply = self.store.swap(swap);
        let lost = self
            .lost
            .fetch_update(Ordering::SeqCst, Ordering::SeqCst, |n| n.checked_sub(1));
        if lost.is_ok() {
            return Err(StoreError::Timeout);
        }
        reply
    }
}

/// The drivers' loop: after an error it starts again, with a fresh revision.
fn drive<M: Machine>(store: &impl Store, machine: &mut M, story: &mut Story) -> M::Done {
    let mut step = machine.start(story.fresh());
    loop {
        step = match step {
            Step::Done(done) => return done,
            Step::Ask(swap) => match store.swap(&swap) {
                Ok(reply) => machine.on_reply(reply, story.fresh()),
                Err(_) => machine.start(story.fresh()),
            },
        }
    }
}

fn law_6_after_an_error_the_caller_asks_again_and_recognises_its_own_doing<M: Make>(make: &M) {
    for lost in 0..4 {
        let (store, _) = at_noon(make);
        let deaf = Deaf {
            store: &store,
            lost: AtomicUsize::new(lost),
        };
        let policy = story::replay(idemp::Lapse::Takeover);
        let mut draws = Story::under(policy);
        let mut begin = Begin::new(one(), SAME, policy, ALICE);
        let Ok(Decision::Miss(token)) = drive(&deaf, &mut begin, &mut draws) else {
            panic!("the owner did not recognise its lease")
        };
        let token = LeaseToken::from_text(&token.to_text()).unwrap();
        deaf.lost.store(lost, Ordering::SeqCst);
        let mut finish = idemp::LeaseCall::new(token, Verb::Finish(story::body("done")));
        let ended = drive(&deaf, &mut finish, &mut draws);
        assert_eq!(ended, Ok(LeaseReply::Ended));
        let mut again = Begin::new(one(), SAME, policy, BOB);
        assert!(drive(&store, &mut again, &mut draws).unwrap().is_hit());
    }
}

fn law_7_keys_never_alias<M: Make>(make: &M) {
    let long = "k".repeat(Key::MAX_BYTES);
    let names = [
        key(&["a:b"], "c"),
        key(&["a"], "b:c"),
        key(&["a", "b"], "c"),
        key(&["a"], "b\u{a0}c"),
        key(&["ab", "c"], "d"),
        key(&["a", "bc"], "d"),
        key(&["A"], "b:c"),
        key(&["a"], "b:C"),
        key(&["a"], "b:c "),
        key(&["a"], "é"),
        key(&["a"], "e\u{301}"),
        key(&["a"], "%"),
        key(&["a"], "_"),
        key(&["a"], "'; --"),
        key(&["a"], &long),
        key(&["a"], &long[1..]),
        key(&["tenant-7", "user-1"], "final"),
        key(&["tenant-7", "user-2"], "final"),
    ];
    let (store, _) = at_noon(make);
    for (n, name) in names.iter().enumerate() {
        let swap = put(name.clone(), Expect::Vacant, new(1 + n as u8, 100, 1_000));
        assert_eq!(ask(&store, &swap), Verdict::Won, "{name:?}");
    }
    for (n, name) in names.iter().enumerate() {
        assert_eq!(
            read(&store, name).unwrap().rev,
            rev(1 + n as u8),
            "{name:?}"
        );
        let remove = Swap {
            slot: name.clone(),
            expect: Expect::Rev(rev(1 + n as u8)),
            put: Put::Remove,
        };
        assert_eq!(ask(&store, &remove), Verdict::Won);
        let left = names.iter().filter(|name| read(&store, name).is_some());
        assert_eq!(
            left.count(),
            names.len() - n - 1,
            "{name:?} took another along"
        );
    }
}

struct Counting<S> {
    store: S,
    asked: AtomicUsize,
}

impl<S: Store> Store for Counting<S> {
    fn swap(&self, swap: &Swap) -> Result<Swapped, StoreError> {
        self.asked.fetch_add(1, Ordering::SeqCst);
        self.store.swap(swap)
    }
}

fn law_8_one_trip_a_step_and_two_to_take_over<M: Make>(make: &M) {
    let (store, clock) = at_noon(make);
    let asked = AtomicUsize::new(0);
    let store = Counting { store, asked };
    let policy = story::replay(idemp::Lapse::Takeover);
    let mut draws = Story::under(policy);
    let mut begin = |owner, trips: usize| {
        store.asked.store(0, Ordering::SeqCst);
        let decision = drive(
            &store,
            &mut Begin::new(one(), SAME, policy, owner),
            &mut draws,
        );
        assert_eq!(store.asked.load(Ordering::SeqCst), trips);
        decision.unwrap()
    };
    let Decision::Miss(_) = begin(ALICE, 1) else {
        panic!()
    };
    assert!(matches!(begin(BOB, 1), Decision::InProgress(_)));
    clock.set(10_100);
    let Decision::Miss(mut token) = begin(BOB, 2) else {
        panic!()
    };
    for verb in [
        Verb::Renew,
        Verb::Publish(story::body("60 %")),
        Verb::Finish(story::body("done")),
    ] {
        store.asked.store(0, Ordering::SeqCst);
        let mut call = idemp::LeaseCall::new(token.clone(), verb);
        let mut draws = Story::under(policy);
        (0..100).for_each(|_| {
            let _ = draws.fresh();
        });
        if let LeaseReply::Held(next) = drive(&store, &mut call, &mut draws).unwrap() {
            token = next;
        }
        assert_eq!(store.asked.load(Ordering::SeqCst), 1);
    }
    assert!(begin(ALICE, 1).is_hit());
}

macro_rules! each_law_holds_for {
    ($store:ident, $make:expr) => {
        mod $store {
            use super::*;

            each_law_holds_for! { @ $make,
                law_1_a_swap_is_atomic_for_every_other_client
                law_2_a_swap_wins_if_and_only_if_the_comparison_held_and_replaces_the_whole_slot
                law_3_a_lost_swap_changes_nothing_and_returns_what_defeated_it
                law_4_nothing_goes_before_its_time_and_a_full_store_fails_loudly
                law_5_head_and_body_come_back_byte_for_byte
                law_6_after_an_error_the_caller_asks_again_and_recognises_its_own_doing
                law_7_keys_never_alias
                law_8_one_trip_a_step_and_two_to_take_over
            }
        }
    };
    (@ $make:expr, $($law:ident)*) => {
        $(
            #[test]
            fn $law() {
                super::$law(&$make);
            }
        )*
    };
}

each_law_holds_for!(the_memory_store, |clock, capacity| {
    MemoryStore::with(clock, capacity)
});
each_law_holds_for!(the_definition, |clock, capacity| Definition {
    clock,
    capacity,
    ..Definition::default()
});
