//! The decision table of `docs/protocol.md`, section 2, row by row.

mod story;

use idemp::{
    Begin, Decision, Fingerprint, Head, Lapse, LeaseReply, Machine, Policy, Resolution, Resolved,
    Slot, SlotError, Step, Swapped, Verb, Verdict,
};
use story::*;

const BOTH: [Lapse; 2] = [Lapse::Takeover, Lapse::Fence];

fn all_policies() -> Vec<Policy> {
    let both = BOTH.into_iter();
    both.flat_map(|lapse| [replay(lapse), while_active(lapse)])
        .chain([with_tombstone()])
        .collect()
}

#[test]
fn an_absent_slot_is_a_first_attempt() {
    for policy in all_policies() {
        let mut story = Story::under(policy);
        let token = story.lease_of(ALICE);
        assert_eq!((token.attempt(), token.published()), (1, None));
        assert_eq!(token.lease_until(), AT(10_100));
        assert_eq!(story.trips, 1, "one trip");
    }
}

#[test]
fn a_slot_past_its_retention_is_a_first_attempt_for_any_payload() {
    for fingerprint in [SAME, OTHER] {
        let mut story = Story::under(replay(Lapse::Fence));
        let token = story.lease_of(ALICE);
        assert_eq!(story.finish(&token, "one"), LeaseReply::Ended);
        story.now = story.gone_at() - 1;
        assert!(!story.begin_as(BOB, fingerprint).is_miss());
        story.wait(1);
        match story.begin_as(BOB, fingerprint) {
            Decision::Miss(token) => assert_eq!((token.attempt(), token.published()), (1, None)),
            other => panic!("{other:?}"),
        }
    }
}

/// Every state that a slot can be in, by name, each told by its own story.
fn every_state(policy: Policy) -> Vec<(&'static str, Story)> {
    let begun = || {
        let mut story = Story::under(policy);
        let token = story.lease_of(ALICE);
        (story, token)
    };
    let ended_by = |verb| {
        let (mut story, token) = begun();
        assert_eq!(story.call(&token, verb), LeaseReply::Ended);
        story
    };
    let mut states = vec![("in progress", begun().0)];
    let (mut story, token) = begun();
    story.held(&token, Verb::Publish(body("task=1")));
    states.push(("in progress, published", story));
    let (mut story, _) = begun();
    story.wait(100);
    states.push(("lapsed", story));
    states.push(("released", ended_by(Verb::Release)));
    states.push(("unknown", ended_by(Verb::Fence)));
    if policy.usage() == idemp::Usage::Replay {
        states.push(("completed", ended_by(Verb::Finish(body("done")))));
        states.push(("unstorable", ended_by(Verb::FinishUnstorable)));
    }
    if !policy.tombstone().is_zero() {
        let mut story = ended_by(Verb::Finish(body("done")));
        story.wait(1000);
        states.push(("tombstone", story));
    }
    states
}

#[test]
fn another_payload_is_a_conflict_in_every_state_and_changes_nothing() {
    for policy in all_policies() {
        for (state, mut story) in every_state(policy) {
            let before = story.slot.clone();
            assert_eq!(story.begin_as(BOB, OTHER), Decision::Conflict, "{state}");
            // Not even the owner itself may come with another payload.
            assert_eq!(story.begin_as(ALICE, OTHER), Decision::Conflict, "{state}");
            assert_eq!(story.slot, before, "{state}");
        }
    }
}

#[test]
fn a_conflict_tells_nothing_of_what_is_stored() {
    let mut story = Story::under(replay(Lapse::Takeover));
    let token = story.lease_of(ALICE);
    let _ = story.finish(&token, "the secret outcome");
    let told = serde_json::to_string(&story.begin_as(BOB, OTHER)).unwrap();
    assert_eq!(told, "\"conflict\"");
}

#[test]
fn a_fingerprint_of_an_unknown_version_blocks() {
    let newer = Fingerprint::from_parts(Fingerprint::VERSION + 1, *SAME.digest());
    for policy in all_policies() {
        let mut story = Story::under(policy);
        assert!(story.begin_as(ALICE, newer).is_miss());
        assert_eq!(story.begin_as(BOB, SAME), Decision::Conflict);
        story.wait(500); // lapsed
        assert_eq!(story.begin_as(BOB, SAME), Decision::Conflict);
    }
}

#[test]
fn a_completed_slot_replays_the_outcome_byte_for_byte() {
    for outcome in ["", "0", "false", "null", "{\"id\": 1.0}", "\u{0}\u{ff}"] {
        let mut story = Story::under(replay(Lapse::Takeover));
        let token = story.lease_of(ALICE);
        assert_eq!(story.finish(&token, outcome), LeaseReply::Ended);
        let before = story.slot.clone();
        assert_eq!(story.hit(), outcome);
        story.wait(999);
        assert_eq!(story.hit(), outcome);
        assert_eq!(
            story.slot, before,
            "a replay neither changes nor prolongs anything"
        );
    }
}

#[test]
fn even_the_owner_that_finished_gets_the_replay() {
    let mut story = Story::under(replay(Lapse::Takeover));
    let token = story.lease_of(ALICE);
    let _ = story.finish(&token, "done");
    assert!(story.begin_as(ALICE, SAME).is_hit());
}

#[test]
fn a_repeated_begin_of_the_same_owner_finds_the_same_lease() {
    for policy in all_policies() {
        let mut story = Story::under(policy);
        let first = story.lease_of(ALICE);
        story.wait(60);
        let again = story.lease_of(ALICE);
        assert_eq!(
            (again.attempt(), again.fence(), again.lease_until()),
            (first.attempt(), first.fence(), first.lease_until())
        );
        assert_eq!(story.finish(&again, "done"), LeaseReply::Ended);
    }
}

#[test]
fn a_begin_whose_answer_was_lost_finds_its_lease_and_its_limits() {
    let mut story = Story::under(replay(Lapse::Takeover));
    let mut begin = Begin::new(slot_key(), SAME, story.policy, ALICE);
    let decision = story.drive_losing_answers(0b111, &mut begin).unwrap();
    let Decision::Miss(token) = decision else {
        panic!("{decision:?}")
    };
    assert_eq!(
        (token.attempt(), token.lease_until().as_millis()),
        (1, 10_100)
    );
    assert!(!story.begin_as(BOB, SAME).is_miss());
    // The ceiling still counts from the grant.
    let token = story.wait(90).held(&token, Verb::Renew);
    let token = story.wait(90).held(&token, Verb::Renew);
    assert!(token.lease_until() <= AT(10_250), "{token:?}");
}

#[test]
fn a_repeated_begin_of_the_same_owner_after_the_lapse_is_an_attempt_of_its_own() {
    let mut story = Story::under(replay(Lapse::Takeover));
    let first = story.lease_of(ALICE);
    let second = story.wait(100).lease_of(ALICE);
    assert_eq!((first.attempt(), second.attempt()), (1, 2));
    assert_eq!(winner(&story.finish(&first, "late")), None);
    assert_eq!(story.finish(&second, "done"), LeaseReply::Ended);
}

#[test]
fn a_live_lease_is_in_progress_with_what_was_published_and_what_remains() {
    for policy in all_policies() {
        let mut story = Story::under(policy);
        let token = story.lease_of(ALICE);
        let Decision::InProgress(other) = story.wait(30).begin_as(BOB, SAME) else {
            panic!("expected in progress")
        };
        assert_eq!((other.published(), other.remaining()), (None, MS(70)));
        story.held(&token, Verb::Publish(body("task=1")));
        let Decision::InProgress(other) = story.begin_as(BOB, SAME) else {
            panic!("expected in progress")
        };
        assert_eq!(other.published(), Some(&body("task=1")));
        assert_eq!(other.remaining(), MS(100));
    }
}

#[test]
fn something_published_empty_is_told_from_nothing_published() {
    let mut story = Story::under(while_active(Lapse::Takeover));
    let token = story.lease_of(ALICE);
    story.held(&token, Verb::Publish(body("")));
    let Decision::InProgress(other) = story.begin_as(BOB, SAME) else {
        panic!("expected in progress")
    };
    assert_eq!(other.published(), Some(&body("")));
}

#[test]
fn a_lapsed_lease_is_taken_over_with_what_was_published() {
    for policy in [replay(Lapse::Takeover), while_active(Lapse::Takeover)] {
        let mut story = Story::under(policy);
        let first = story.lease_of(ALICE);
        story.held(&first, Verb::Publish(body("task=1")));
        assert!(!story.wait(99).begin_as(BOB, SAME).is_miss(), "live");
        let before = story.trips;
        let second = story.wait(1).lease_of(BOB);
        assert_eq!(story.trips - before, 2, "only this takes two trips");
        assert_eq!(
            (second.attempt(), second.published()),
            (2, Some(&body("task=1")))
        );
        assert!(second.fence() > first.fence());
        // Duplicates of the second attempt see what the first one published.
        let Decision::InProgress(other) = story.begin_as(CAROL, SAME) else {
            panic!("expected in progress")
        };
        assert_eq!(other.published(), Some(&body("task=1")));
    }
}

#[test]
fn a_lapsed_lease_is_unknown_where_the_record_or_the_caller_fences() {
    for (recorded, asked) in [
        (Lapse::Fence, Lapse::Fence),
        (Lapse::Fence, Lapse::Takeover),
        (Lapse::Takeover, Lapse::Fence),
    ] {
        for make in [replay, while_active] {
            let mut story = Story::under(make(recorded));
            story.lease_of(ALICE);
            let before = story.wait(100).slot.clone();
            let decision = story.begin_under(make(asked), BOB, SAME);
            assert_eq!(decision, Ok(Decision::Unknown), "{recorded:?} {asked:?}");
            assert_eq!(story.slot, before);
        }
    }
}

#[test]
fn a_record_that_fences_still_does_after_a_release_and_a_caller_that_would_not() {
    let mut story = Story::under(replay(Lapse::Fence));
    let token = story.lease_of(ALICE);
    assert_eq!(story.call(&token, Verb::Release), LeaseReply::Ended);
    let takeover = replay(Lapse::Takeover);
    let Ok(Decision::Miss(second)) = story.begin_under(takeover, BOB, SAME) else {
        panic!("a released key is free for the same payload")
    };
    story.held(&second, Verb::Renew);
    story.wait(200);
    let decision = story.begin_under(takeover, CAROL, SAME);
    assert_eq!(decision, Ok(Decision::Unknown));
}

#[test]
fn a_released_key_is_a_next_attempt_for_the_same_payload_whatever_a_lapse_means() {
    for lapse in BOTH {
        for policy in [replay(lapse), while_active(lapse)] {
            let mut story = Story::under(policy);
            let first = story.lease_of(ALICE);
            let first = story.held(&first, Verb::Publish(body("task=1")));
            assert_eq!(story.call(&first, Verb::Release), LeaseReply::Ended);
            let second = story.lease_of(BOB);
            assert_eq!(
                (second.attempt(), second.published()),
                (2, Some(&body("task=1")))
            );
            assert!(second.fence() > first.fence());
        }
    }
}

#[test]
fn what_was_done_and_could_not_be_stored_is_unknown() {
    let mut story = Story::under(replay(Lapse::Takeover));
    let token = story.lease_of(ALICE);
    assert_eq!(
        story.call(&token, Verb::FinishUnstorable),
        LeaseReply::Ended
    );
    assert_eq!(story.begin_as(BOB, SAME), Decision::Unknown);
    story.wait(999);
    assert_eq!(story.begin_as(BOB, SAME), Decision::Unknown);
}

#[test]
fn a_fenced_key_is_unknown_until_it_is_resolved() {
    for (resolution, expected) in [
        (Resolution::Completed(body("found by hand")), "hit"),
        (Resolution::Vacant, "miss"),
    ] {
        for lapse in BOTH {
            let mut story = Story::under(replay(lapse));
            let token = story.lease_of(ALICE);
            assert_eq!(story.call(&token, Verb::Fence), LeaseReply::Ended);
            story.wait(500);
            assert_eq!(story.begin_as(BOB, SAME), Decision::Unknown);
            assert_eq!(story.resolve(resolution.clone()), Resolved::Done);
            match (story.begin_as(BOB, SAME), expected) {
                (Decision::Hit(replay), "hit") => assert_eq!(text(&replay), "found by hand"),
                (Decision::Miss(token), "miss") => assert_eq!(token.attempt(), 1),
                other => panic!("{other:?}"),
            }
        }
    }
}

#[test]
fn a_tombstone_is_expired_and_then_the_key_is_free() {
    let mut story = Story::under(with_tombstone());
    let token = story.lease_of(ALICE);
    let _ = story.finish(&token, "done");
    assert_eq!(story.wait(999).hit(), "done");
    assert_eq!(story.wait(1).begin_as(BOB, SAME), Decision::Expired);
    assert_eq!(story.wait(499).begin_as(BOB, SAME), Decision::Expired);
    assert!(story.wait(1).begin_as(BOB, OTHER).is_miss());
}

#[test]
fn the_retention_counts_from_finish() {
    let mut story = Story::under(replay(Lapse::Takeover));
    let token = story.lease_of(ALICE);
    let _ = story.wait(80).finish(&token, "done");
    assert_eq!(story.gone_at(), 10_080 + 1000);
}

#[test]
fn a_clock_that_steps_back_shortens_no_retention() {
    let mut story = Story::under(replay(Lapse::Takeover));
    let token = story.lease_of(ALICE);
    let _ = story.wait(80).finish(&token, "done");
    let gone_at = story.gone_at();
    story.now -= 5_000;
    assert_eq!(story.hit(), "done");
    assert_eq!(story.finish(&token, "done"), LeaseReply::Ended);
    assert_eq!(story.gone_at(), gone_at);
}

#[test]
fn the_fence_grows_with_every_lease_of_a_key() {
    let mut story = Story::under(replay(Lapse::Takeover));
    let mut fences = vec![story.lease_of(ALICE).fence()];
    let lapsed = story.wait(100).lease_of(BOB);
    fences.push(lapsed.fence());
    let _ = story.call(&lapsed, Verb::Release);
    let released = story.lease_of(CAROL); // in the same millisecond
    fences.push(released.fence());
    story.now -= 5_000; // the clock steps back: within a generation it grows all the same
    let _ = story.call(&released, Verb::Release);
    let token = story.lease_of(ALICE);
    fences.push(token.fence());
    let _ = story.finish(&token, "done");
    story.now = story.gone_at();
    fences.push(story.lease_of(BOB).fence());
    assert!(fences.is_sorted_by(|a, b| a < b), "{fences:?}");
}

#[test]
fn a_corrupt_or_newer_record_is_an_error_and_never_a_miss() {
    let mut story = Story::under(replay(Lapse::Takeover));
    story.lease_of(ALICE);
    let whole = story.slot.clone().unwrap();
    let with_head = |bytes: &[u8]| {
        Some(Slot {
            head: Head::from_bytes(bytes).unwrap(),
            ..whole.clone()
        })
    };
    let mut newer = whole.head.as_bytes().to_vec();
    newer[0] = 2;
    let cut = &whole.head.as_bytes()[..20];
    for (head, error) in [
        (&newer[..], SlotError::Newer { version: 2 }),
        (cut, SlotError::Corrupt),
        (b"", SlotError::Corrupt),
        (b"\0not ours", SlotError::Corrupt),
    ] {
        for waited in [0, 100, 999] {
            let mut story = story.clone();
            story.slot = with_head(head);
            story.wait(waited);
            let policy = story.policy;
            assert_eq!(story.begin_under(policy, BOB, SAME), Err(error));
            assert_eq!(story.begin_under(policy, ALICE, SAME), Err(error));
            assert_eq!(story.slot, with_head(head), "nothing was changed");
        }
    }
}

/// A slot that another client changes before each of this one's questions.
#[test]
fn after_sixteen_lost_rounds_somebody_else_is_at_work_and_a_new_start_asks_anew() {
    let mut story = Story::under(replay(Lapse::Takeover));
    let token = story.lease_of(ALICE);
    let _ = story.call(&token, Verb::Release);
    let mut begin = Begin::new(slot_key(), SAME, story.policy, BOB);
    let mut step = begin.start(story.fresh());
    let mut asked = 0;
    let decision = loop {
        match step {
            Step::Done(decision) => break decision.unwrap(),
            Step::Ask(_) => {
                asked += 1;
                let mut slot = story.slot.clone().unwrap();
                slot.rev = story.fresh();
                let reply = Swapped {
                    now: AT(story.now),
                    verdict: Verdict::Lost(Some(slot)),
                };
                step = begin.on_reply(reply, story.fresh());
            }
        }
    };
    assert_eq!(asked, 16);
    assert!(matches!(decision, Decision::InProgress(_)));
    assert!(decision.retry_after().is_some());
    assert!(
        story.drive(&mut begin).unwrap().is_miss(),
        "nobody disturbs"
    );
}
