//! A call that is driven where it arrives: the same bytes as step by step, and bodies beside them.

use idemp::testing::FakeClock;
use idemp::wire::{Answer, Driven, Refused, read_swap, swapped};
use idemp::{Body, Idempotency, MemoryStore, Store, StoreError, Verdict};
use proptest::prelude::*;

const SLOT: &[u8] = b"\x01\x00\x06user-1final-17";
/// What of a token follows its slot.
const BEHIND_SLOT: usize = 33 + 34 + 32 + 4 + 32;

fn slot() -> Vec<u8> {
    [&(SLOT.len() as u16).to_be_bytes(), SLOT].concat()
}

fn policy() -> Vec<u8> {
    let spans = [86_400_000u64, 60_000, 3_600_000, 0].map(u64::to_be_bytes);
    [&[0, 0], spans.concat().as_slice()].concat()
}

fn begin(print: u8, owner: u8) -> Vec<u8> {
    [&[1][..], &slot(), &[print; 33], &policy(), &[owner; 16]].concat()
}

/// The token of a miss, without what was published.
fn token(miss: &Answer) -> Vec<u8> {
    assert_eq!(miss.bytes[..2], [1, 1], "a miss");
    miss.bytes[2..][..slot().len() + BEHIND_SLOT].to_vec()
}

/// A verb by the owner of a token; what was published has mark 3, where it is known.
fn verb(token: &[u8], published: &[u8], verb: &[u8]) -> Vec<u8> {
    [&[2], token, published, verb].concat()
}

const NOTHING_PUBLISHED: &[u8] = &[1];
const PUBLISHED: &[u8] = &[2, 3];
const FINISH: &[u8] = &[1, 1];
const PUBLISH: &[u8] = &[5, 1];

struct World(Idempotency<MemoryStore>);

impl World {
    fn new(capacity: usize) -> Self {
        let clock = FakeClock::default();
        Self(Idempotency::new(MemoryStore::with(clock, capacity)))
    }

    fn drive(&self, call: &[u8], own: &[u8], known: &[u8]) -> Result<Answer, StoreError> {
        match Driven::read(call, own.into(), known.into()) {
            Ok(driven) => driven.drive(&self.0),
            Err(refused) => Ok(refused.into()),
        }
    }

    fn ask(&self, call: &[u8], own: &[u8], known: &[u8]) -> Answer {
        self.drive(call, own, known).unwrap()
    }
}

#[test]
fn a_finish_is_replayed_with_its_body_beside_the_answer() {
    let world = World::new(10);
    let miss = world.ask(&begin(1, 9), b"", b"");
    assert_eq!(miss.body, None);
    let finish = verb(&token(&miss), NOTHING_PUBLISHED, FINISH);
    assert_eq!(world.ask(&finish, b"done", b"").bytes, [1, 2]);
    assert_eq!(world.ask(&finish, b"done", b"").bytes, [1, 2], "repeated");

    let hit = world.ask(&begin(1, 8), b"", b"");
    assert_eq!(
        (hit.bytes[..2].to_vec(), hit.bytes[10..].to_vec()),
        (vec![1, 2], vec![2])
    );
    assert_eq!(hit.body.as_deref(), Some(&b"done"[..]));
    assert_eq!(
        world.ask(&begin(2, 8), b"", b"").bytes,
        [1, 3],
        "a conflict"
    );

    let late = world.ask(&finish, b"other", b"");
    assert_eq!(
        late.bytes[..3],
        [1, 4, 1],
        "stale, with the winner's outcome"
    );
    assert_eq!(late.body.as_deref(), Some(&b"done"[..]));
}

#[test]
fn what_was_published_has_the_mark_of_the_body_that_it_is() {
    let world = World::new(10);
    let miss = world.ask(&begin(1, 9), b"", b"");
    let published = world.ask(
        &verb(&token(&miss), NOTHING_PUBLISHED, PUBLISH),
        b"half",
        b"",
    );
    assert_eq!(
        (published.bytes.ends_with(&[2, 1]), published.body),
        (true, None),
        "the verb's own"
    );

    let held = [&[1, 1], &published.bytes[2..]].concat();
    let token = token(&Answer {
        bytes: held,
        body: None,
    });
    let renewed = world.ask(&verb(&token, PUBLISHED, &[4]), b"", b"half");
    assert_eq!(
        (renewed.bytes.ends_with(PUBLISHED), renewed.body),
        (true, None),
        "the one known"
    );

    let other = world.ask(&begin(1, 8), b"", b"");
    assert_eq!(
        (other.bytes[..2].to_vec(), other.bytes.ends_with(&[1, 2])),
        (vec![1, 4], true)
    );
    assert_eq!(other.body.as_deref(), Some(&b"half"[..]), "the slot's");

    let unread = world.ask(&verb(&token, &[0], &[6]), b"", b"");
    assert_eq!(
        unread.bytes,
        [1, 2],
        "released, and what was published is read first"
    );
    let next = world.ask(&begin(1, 7), b"", b"");
    assert_eq!(
        (next.bytes.ends_with(&[2, 2]), next.body.as_deref()),
        (true, Some(&b"half"[..]))
    );
}

#[test]
fn empty_bodies_have_no_mark_and_are_none_beside() {
    let world = World::new(10);
    let miss = world.ask(&begin(1, 9), b"", b"");
    assert_eq!(
        world
            .ask(&verb(&token(&miss), NOTHING_PUBLISHED, &[1, 0]), b"", b"")
            .bytes,
        [1, 2]
    );
    let hit = world.ask(&begin(1, 8), b"", b"");
    assert_eq!((hit.bytes.last(), hit.body), (Some(&0), None));
}

#[test]
fn a_mark_that_stands_for_nothing_is_refused() {
    let world = World::new(10);
    let miss = world.ask(&begin(1, 9), b"", b"");
    let malformed = Answer::from(Refused::MALFORMED);
    for call in [
        verb(&token(&miss), NOTHING_PUBLISHED, &[1, 2]),
        verb(&token(&miss), &[2, 2], FINISH),
        [&begin(1, 9)[..], &[0]].concat(),
        begin(1, 9)[..40].to_vec(),
        Vec::new(),
    ] {
        assert_eq!(world.ask(&call, b"done", b"half"), malformed);
    }
    assert_eq!(
        world.ask(&begin(1, 8), b"", b"").bytes[..2],
        [1, 4],
        "it is still held"
    );
}

#[test]
fn a_store_that_fails_is_an_error_and_no_answer() {
    let world = World::new(0);
    assert!(matches!(
        world.drive(&begin(1, 9), b"", b""),
        Err(StoreError::Full)
    ));
}

#[test]
fn a_question_to_a_store_crosses_and_its_reply_does() {
    let world = World::new(10);
    let rev = [7; 16];
    let spans = [60_000u64, 90_000].map(u64::to_be_bytes).concat();
    let put = [&slot(), &[0, 1][..], &rev, &spans, &[0, 4], b"head", &[1]].concat();
    let claim = read_swap(&put, Body::from(&b"body"[..])).unwrap();
    let won = world.0.store().swap(&claim).unwrap();
    assert_eq!(won.verdict, Verdict::Won);
    assert_eq!(swapped(&won).bytes.last(), Some(&0));

    let lost = world.0.store().swap(&claim).unwrap();
    let answer = swapped(&lost);
    assert_eq!((answer.bytes[9], &answer.bytes[10..26]), (2, &rev[..]));
    assert!(answer.bytes.ends_with(b"\0\x04head\x02"));
    assert_eq!(answer.body.as_deref(), Some(&b"body"[..]));

    let remove = [&slot(), &[1][..], &rev, &[0]].concat();
    let remove = read_swap(&remove, Body::default()).unwrap();
    assert_eq!(world.0.store().swap(&remove).unwrap().verdict, Verdict::Won);
    let nothing = world.0.store().swap(&remove).unwrap();
    assert_eq!(swapped(&nothing).bytes.last(), Some(&1));
}

proptest! {
    #[test]
    fn no_bytes_make_it_panic(call in proptest::collection::vec(any::<u8>(), 0..400)) {
        let answer = World::new(10).ask(&call, b"own", b"known");
        prop_assert!(answer.bytes[0] == 1 || answer.bytes.len() == 10);
        let _ = read_swap(&call, Body::default());
    }

    #[test]
    fn no_damage_to_a_call_makes_it_panic(
        damages in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6),
        finishes in any::<bool>(),
    ) {
        let world = World::new(10);
        let miss = world.ask(&begin(1, 9), b"", b"");
        let mut call = if finishes { verb(&token(&miss), PUBLISHED, FINISH) } else { begin(1, 8) };
        for (at, byte) in damages {
            let at = at.index(call.len());
            call[at] = byte;
        }
        let answer = world.ask(&call, b"own", b"known");
        prop_assert!(answer.bytes[0] == 1 || answer.bytes.len() == 10);
    }
}
