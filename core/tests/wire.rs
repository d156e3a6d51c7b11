//! What crosses to other languages never panics, whatever comes.

use idemp::wire::call;
use proptest::prelude::*;

/// A begin, as a host sends it: fresh bytes, then the call.
fn begin() -> Vec<u8> {
    let slot = b"\x01\x00\x06user-1final-17";
    let policy: Vec<u8> = [86_400_000u64, 60_000, 3_600_000, 0]
        .iter()
        .flat_map(|span| span.to_be_bytes())
        .collect();
    [
        &[7; 16][..],
        &[1],
        &(slot.len() as u16).to_be_bytes(),
        slot,
        &[1; 33],
        &[0, 0],
        &policy,
        &[9; 16],
    ]
    .concat()
}

/// What a machine says to a reply: `now` and the verdict, with the machine of the step before.
fn reply(step: &[u8], verdict: &[u8]) -> Vec<u8> {
    // 1 ask, vacant, put: a revision, two spans, the framed head, a mark.
    let head = usize::from(u16::from_be_bytes([step[36], step[37]]));
    let machine = &step[38 + head + 1..];
    [&[8; 16][..], &1_000u64.to_be_bytes(), verdict, machine].concat()
}

#[test]
fn a_begin_is_answered_step_by_step() {
    let step = call(3, &begin());
    assert_eq!(step[..4], [1, 0, 0, 1], "it asks for a vacant slot");
    let done = call(4, &reply(&step, &[0]));
    assert_eq!(done[..3], [1, 1, 1], "a miss");
    let again = call(4, &reply(&step, &[1]));
    assert_eq!(again[..2], [1, 0], "nothing lay there: it asks again");
}

#[test]
fn what_is_malformed_is_refused_and_says_so() {
    for function in 0..=u8::MAX {
        let answer = call(function, b"");
        assert!(matches!(answer[..], [0, _, ..] | [1, ..]), "{function}");
    }
    assert_eq!(call(99, b"")[..2], [0, 255]);
    assert_eq!(call(1, b"\x09")[..2], [0, 4], "nine parts");
    assert_eq!(
        call(9, b"{\"a\":1,\"a\":2}"),
        [0, 67, 0, 0, 0, 0, 0, 0, 0, 7]
    );
    let mut longer = begin();
    longer.push(0);
    assert_eq!(call(3, &longer)[..2], [0, 255], "nothing may follow");
    for length in 0..begin().len() {
        assert_eq!(call(3, &begin()[..length])[0], 0, "cut at {length}");
    }
}

proptest! {
    #[test]
    fn no_bytes_make_it_panic(function in 0u8..25, question in proptest::collection::vec(any::<u8>(), 0..400)) {
        let answer = call(function, &question);
        prop_assert!(answer[0] == 1 || answer.len() == 10);
    }

    #[test]
    fn no_damage_to_a_question_makes_it_panic(
        damages in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6),
        started in any::<bool>(),
        cut in any::<prop::sample::Index>(),
    ) {
        let step = call(3, &begin());
        let verdict = [&[2][..], &[5; 16], &2_000u64.to_be_bytes(), &9_000u64.to_be_bytes(), &[0, 0, 2]].concat();
        let mut question = if started { reply(&step, &verdict) } else { begin() };
        for (at, byte) in damages {
            let at = at.index(question.len());
            question[at] = byte;
        }
        if cut.index(4) == 0 {
            question.truncate(cut.index(question.len()));
        }
        let answer = call(if started { 4 } else { 3 }, &question);
        prop_assert!(answer[0] == 1 || answer.len() == 10);
    }
}
