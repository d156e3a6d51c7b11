//! "With the lease in hand": every sentence of `docs/protocol.md`, section 2, and the resolution
//! of what nobody knows.

mod story;

use idemp::{
    Decision, Lapse, LeaseCall, LeaseReply, LeaseToken, Machine, Policy, PolicyError, Resolution,
    Resolve, Resolved, SlotError, Step, Swapped, Usage, Verb, Verdict,
};
use story::*;

fn begun(policy: Policy) -> (Story, LeaseToken) {
    let mut story = Story::under(policy);
    let token = story.lease_of(ALICE);
    (story, token)
}

fn either_use() -> [Policy; 2] {
    [replay(Lapse::Takeover), while_active(Lapse::Takeover)]
}

/// The token as a worker gets it with the job: through its text.
fn in_another_process(token: &LeaseToken) -> LeaseToken {
    let text = token.to_text();
    assert!(text.len() < LeaseToken::MAX_TEXT_BYTES);
    LeaseToken::from_text(&text).unwrap()
}

mod finish {
    use super::*;

    #[test]
    fn a_late_owner_never_overwrites_the_winner_and_gets_its_outcome() {
        let (mut story, alice) = begun(replay(Lapse::Takeover));
        let bob = story.wait(100).lease_of(BOB);
        assert_eq!(
            winner(&story.finish(&alice, "late")),
            None,
            "nobody won so far"
        );
        assert_eq!(story.finish(&bob, "done"), LeaseReply::Ended);
        assert_eq!(winner(&story.finish(&alice, "late")), Some("done".into()));
        assert_eq!(story.hit(), "done");
    }

    #[test]
    fn an_owner_that_is_late_but_was_not_replaced_is_accepted() {
        for policy in either_use() {
            let (mut story, alice) = begun(policy);
            story.wait(900);
            assert_eq!(story.finish(&alice, "late"), LeaseReply::Ended);
            match policy.usage() {
                Usage::Replay => assert_eq!(story.hit(), "late"),
                Usage::WhileActive => assert_eq!(story.slot, None),
            }
        }
    }

    #[test]
    fn an_outcome_is_known_after_all_when_the_owner_finishes_what_it_gave_back() {
        for verb in [Verb::Release, Verb::Fence] {
            let (mut story, alice) = begun(replay(Lapse::Takeover));
            assert_eq!(story.call(&alice, verb), LeaseReply::Ended);
            assert_eq!(story.finish(&alice, "done"), LeaseReply::Ended);
            assert_eq!(story.hit(), "done");
        }
    }

    #[test]
    fn finishing_what_was_given_back_and_taken_over_is_stale() {
        let (mut story, alice) = begun(replay(Lapse::Takeover));
        let _ = story.call(&alice, Verb::Release);
        let bob = story.lease_of(BOB);
        assert_eq!(winner(&story.finish(&alice, "late")), None);
        assert_eq!(story.finish(&bob, "done"), LeaseReply::Ended);
    }

    #[test]
    fn a_record_that_is_gone_is_never_created_anew() {
        let (mut story, alice) = begun(replay(Lapse::Takeover));
        story.now = story.gone_at();
        assert_eq!(winner(&story.finish(&alice, "late")), None);
        story.slot = None; // purged
        assert_eq!(winner(&story.finish(&alice, "late")), None);
        assert_eq!(story.slot, None);
    }

    #[test]
    fn a_late_owner_learns_nothing_of_another_payloads_outcome() {
        let (mut story, alice) = begun(replay(Lapse::Takeover));
        story.now = story.gone_at();
        let Decision::Miss(bob) = story.begin_as(BOB, OTHER) else {
            panic!("a key past its retention is free")
        };
        assert_eq!(story.finish(&bob, "for Bob only"), LeaseReply::Ended);
        assert_eq!(winner(&story.finish(&alice, "late")), None);
    }

    #[test]
    fn repeating_it_is_a_success_and_changes_nothing() {
        let (mut story, alice) = begun(replay(Lapse::Takeover));
        assert_eq!(story.finish(&alice, "done"), LeaseReply::Ended);
        let before = story.wait(10).slot.clone();
        assert_eq!(story.finish(&alice, "done"), LeaseReply::Ended);
        assert_eq!(story.slot, before);
    }

    #[test]
    fn a_second_outcome_is_never_acknowledged_in_place_of_the_first() {
        let (mut story, alice) = begun(replay(Lapse::Takeover));
        let worker = in_another_process(&alice);
        assert_eq!(story.finish(&alice, "first"), LeaseReply::Ended);
        assert_eq!(
            winner(&story.finish(&worker, "second")),
            Some("first".into())
        );
        assert_eq!(story.hit(), "first");
    }

    #[test]
    fn an_outcome_that_could_be_stored_after_all_is_stored() {
        let (mut story, alice) = begun(replay(Lapse::Takeover));
        assert_eq!(
            story.call(&alice, Verb::FinishUnstorable),
            LeaseReply::Ended
        );
        assert_eq!(story.finish(&alice, "done"), LeaseReply::Ended);
        assert_eq!(story.hit(), "done");
        assert_eq!(
            story.call(&alice, Verb::FinishUnstorable),
            LeaseReply::Ended
        );
        assert_eq!(story.hit(), "done", "and stays");
    }

    #[test]
    fn while_active_the_slot_is_vacant_at_once_and_the_next_request_is_new_work() {
        for verb in [Verb::Finish(body("done")), Verb::FinishUnstorable] {
            let (mut story, alice) = begun(while_active(Lapse::Fence));
            let alice = story.held(&alice, Verb::Publish(body("task=1")));
            assert_eq!(story.call(&alice, verb.clone()), LeaseReply::Ended);
            assert_eq!(story.slot, None);
            assert_eq!(story.call(&alice, verb), LeaseReply::Ended, "repeated");
            match story.begin_as(BOB, OTHER) {
                Decision::Miss(token) => {
                    assert_eq!((token.attempt(), token.published()), (1, None));
                }
                other => panic!("{other:?}"),
            }
        }
    }

    #[test]
    fn while_active_a_late_owner_does_not_vacate_the_winners_slot() {
        let (mut story, alice) = begun(while_active(Lapse::Takeover));
        let bob = story.wait(100).lease_of(BOB);
        assert_eq!(winner(&story.finish(&alice, "late")), None);
        assert!(matches!(
            story.begin_as(CAROL, SAME),
            Decision::InProgress(_)
        ));
        assert_eq!(story.finish(&bob, "done"), LeaseReply::Ended);
    }
}

mod renew {
    use super::*;

    #[test]
    fn it_prolongs_the_lease_from_now() {
        let (mut story, alice) = begun(replay(Lapse::Takeover));
        let alice = story.wait(40).held(&alice, Verb::Renew);
        assert_eq!(alice.lease_until(), AT(10_140));
        assert_eq!(story.lease_until(), 10_140);
        assert!(!story.wait(99).begin_as(BOB, SAME).is_miss());
        assert_eq!(story.wait(1).lease_of(BOB).attempt(), 2);
    }

    #[test]
    fn a_live_lease_comes_up_to_the_ceiling_and_never_beyond() {
        for policy in either_use() {
            for verb in [Verb::Renew, Verb::Publish(body("60 %"))] {
                let (mut story, mut token) = begun(policy);
                let ceiling = 10_000 + 250;
                let mut renewals = 0;
                while story.now + 5 < story.lease_until() {
                    match story.wait(5).call(&token, verb.clone()) {
                        LeaseReply::Held(next) => token = next,
                        LeaseReply::Ceiling => break,
                        other => panic!("{other:?}"),
                    }
                    renewals += 1;
                    assert!(story.lease_until() <= ceiling, "{}", story.lease_until());
                    assert_eq!(token.lease_until(), AT(story.lease_until()));
                }
                assert!(renewals > 10);
                assert!(story.lease_until() > ceiling - 10, "close to the ceiling");
                story.now = ceiling;
                assert_eq!(story.lease_of(BOB).attempt(), 2, "the key can be taken");
            }
        }
    }

    #[test]
    fn at_its_ceiling_a_lease_is_not_prolonged_and_its_owner_is_told() {
        let policy = Policy::replay(MS(1000)).lease(MS(100)).ceiling(MS(100));
        let (mut story, alice) = begun(policy.build().unwrap());
        let trips = story.trips;
        assert_eq!(
            story.wait(50).call(&alice, Verb::Renew),
            LeaseReply::Ceiling
        );
        assert_eq!(
            story.trips, trips,
            "the owner can tell without asking the store"
        );
        assert_eq!(story.lease_until(), 10_100);
        assert_eq!(story.finish(&alice, "done"), LeaseReply::Ended);
    }

    #[test]
    fn an_old_copy_of_the_token_learns_the_ceiling_from_the_slot() {
        let policy = Policy::replay(MS(1000)).lease(MS(100)).ceiling(MS(101));
        let (mut story, old) = begun(policy.build().unwrap());
        let new = story.wait(99).held(&old, Verb::Renew);
        let new = story.wait(0).held(&new, Verb::Publish(body("")));
        assert_eq!(new.lease_until(), AT(10_100));
        story.wait(500);
        assert_eq!(story.call(&old, Verb::Renew), LeaseReply::Ceiling);
        assert_eq!(story.lease_until(), 10_100, "the lapsed lease stays lapsed");
    }

    /// Without a clock the machine cannot tell a lapsed lease from a live one before it asks.
    #[test]
    fn a_renewal_after_the_lapse_overruns_the_ceiling_by_less_than_a_lease_and_only_once() {
        let (mut story, alice) = begun(replay(Lapse::Takeover));
        story.wait(800); // long past the ceiling, and nobody took over
        let alice = story.held(&alice, Verb::Renew);
        assert!(alice.lease_until() <= AT(story.now + 100));
        assert_eq!(story.call(&alice, Verb::Renew), LeaseReply::Ceiling);
        assert_eq!(story.wait(100).lease_of(BOB).attempt(), 2);
    }

    #[test]
    fn a_late_owner_prolongs_nothing() {
        let (mut story, alice) = begun(replay(Lapse::Takeover));
        story.wait(100).lease_of(BOB);
        let before = story.slot.clone();
        assert_eq!(winner(&story.call(&alice, Verb::Renew)), None);
        assert_eq!(story.slot, before);
    }

    #[test]
    fn a_lease_that_was_ended_is_not_revived() {
        for ended in [
            Verb::Release,
            Verb::Fence,
            Verb::Finish(body("done")),
            Verb::Forget,
        ] {
            for verb in [Verb::Renew, Verb::Publish(body("late"))] {
                let (mut story, alice) = begun(replay(Lapse::Takeover));
                assert_eq!(story.call(&alice, ended.clone()), LeaseReply::Ended);
                let before = story.slot.clone();
                let reply = story.call(&alice, verb);
                assert!(matches!(reply, LeaseReply::Stale(_)), "{reply:?}");
                assert_eq!(story.slot, before);
            }
        }
    }
}

mod publish {
    use super::*;

    #[test]
    fn duplicates_and_the_next_attempt_get_the_latest_state() {
        for policy in either_use() {
            let (mut story, alice) = begun(policy);
            let alice = story.held(&alice, Verb::Publish(body("10 %")));
            let alice = story.held(&alice, Verb::Publish(body("60 %")));
            assert_eq!(alice.published(), Some(&body("60 %")));
            let alice = story.held(&alice, Verb::Renew);
            let Decision::InProgress(other) = story.begin_as(BOB, SAME) else {
                panic!("expected in progress")
            };
            assert_eq!(other.published(), Some(&body("60 %")));
            story.now = alice.lease_until().as_millis();
            let bob = story.lease_of(BOB);
            assert_eq!((bob.attempt(), bob.published()), (2, Some(&body("60 %"))));
        }
    }

    #[test]
    fn what_was_published_is_not_the_outcome() {
        let (mut story, alice) = begun(replay(Lapse::Takeover));
        let alice = story.held(&alice, Verb::Publish(body("60 %")));
        let _ = story.finish(&alice, "");
        assert_eq!(story.hit(), "");
    }

    #[test]
    fn a_late_owner_publishes_nothing() {
        let (mut story, alice) = begun(while_active(Lapse::Takeover));
        let bob = story.wait(100).lease_of(BOB);
        story.held(&bob, Verb::Publish(body("Bob's")));
        let reply = story.call(&alice, Verb::Publish(body("Alice's")));
        assert_eq!(winner(&reply), None);
        let Decision::InProgress(other) = story.begin_as(CAROL, SAME) else {
            panic!("expected in progress")
        };
        assert_eq!(other.published(), Some(&body("Bob's")));
    }
}

mod release_and_forget {
    use super::*;

    #[test]
    fn a_released_key_stays_bound_to_its_payload() {
        for policy in either_use() {
            let (mut story, alice) = begun(policy);
            assert_eq!(story.call(&alice, Verb::Release), LeaseReply::Ended);
            assert_eq!(story.begin_as(BOB, OTHER), Decision::Conflict);
            assert_eq!(story.lease_of(BOB).attempt(), 2);
        }
    }

    #[test]
    fn a_late_owner_releases_and_forgets_nothing() {
        for verb in [Verb::Release, Verb::Forget, Verb::Fence] {
            let (mut story, alice) = begun(replay(Lapse::Takeover));
            let bob = story.wait(100).lease_of(BOB);
            let before = story.slot.clone();
            assert_eq!(winner(&story.call(&alice, verb.clone())), None);
            assert_eq!(story.slot, before);
            let _ = story.finish(&bob, "done");
            assert_eq!(winner(&story.call(&alice, verb)), Some("done".into()));
            assert_eq!(story.hit(), "done");
        }
    }

    #[test]
    fn an_owner_that_finished_cannot_give_the_result_away() {
        for verb in [Verb::Release, Verb::Forget, Verb::Fence] {
            let (mut story, alice) = begun(replay(Lapse::Takeover));
            let _ = story.finish(&alice, "done");
            assert_eq!(winner(&story.call(&alice, verb)), Some("done".into()));
            assert_eq!(story.hit(), "done");
        }
    }

    #[test]
    fn a_fenced_key_is_not_released_or_forgotten_by_its_owner() {
        for verb in [Verb::Release, Verb::Forget] {
            let (mut story, alice) = begun(replay(Lapse::Takeover));
            let _ = story.call(&alice, Verb::Fence);
            assert_eq!(winner(&story.call(&alice, verb)), None);
            assert_eq!(story.begin_as(BOB, SAME), Decision::Unknown);
        }
    }

    #[test]
    fn what_was_refused_before_anything_was_done_frees_the_key_for_any_payload() {
        for policy in either_use() {
            let (mut story, alice) = begun(policy);
            assert_eq!(story.call(&alice, Verb::Forget), LeaseReply::Ended);
            assert_eq!(story.slot, None);
            assert!(story.begin_as(BOB, OTHER).is_miss());
            let before = story.slot.clone();
            let repeated = story.call(&alice, Verb::Forget);
            assert_eq!(winner(&repeated), None, "it is Bob's now");
            assert_eq!(story.slot, before);
        }
    }

    #[test]
    fn a_later_attempt_forgets_nothing_since_an_earlier_one_may_have_executed() {
        for end in [Some(Verb::Release), None] {
            let (mut story, alice) = begun(replay(Lapse::Takeover));
            if let Some(verb) = end {
                let _ = story.call(&alice, verb);
            }
            let bob = story.wait(100).lease_of(BOB);
            for bob in [bob.clone(), in_another_process(&bob)] {
                assert_eq!(story.call(&bob, Verb::Forget), LeaseReply::Ended);
                assert_eq!(story.begin_as(CAROL, OTHER), Decision::Conflict);
            }
            assert_eq!(story.lease_of(CAROL).attempt(), 3);
        }
    }
}

mod lost_answers {
    use super::*;

    fn verbs() -> [Verb; 7] {
        [
            Verb::Finish(body("done")),
            Verb::FinishUnstorable,
            Verb::Fence,
            Verb::Renew,
            Verb::Publish(body("60 %")),
            Verb::Release,
            Verb::Forget,
        ]
    }

    fn apart_from_its_revision(story: &Story) -> Option<idemp::Slot> {
        story.slot.clone().map(|slot| idemp::Slot {
            rev: idemp::Rev::NIL,
            ..slot
        })
    }

    #[test]
    fn every_verb_may_be_repeated_and_ends_as_if_it_had_been_asked_once() {
        for policy in [
            replay(Lapse::Takeover),
            replay(Lapse::Fence),
            while_active(Lapse::Takeover),
            with_tombstone(),
        ] {
            for verb in verbs() {
                let (mut told, token) = begun(policy);
                let token = told.wait(30).held(&token, Verb::Publish(body("30 %")));
                let mut untold = told.clone();
                let expected = told.wait(10).call(&token, verb.clone());
                untold.wait(10);
                for token in [token.clone(), in_another_process(&token)] {
                    for lost in 1..16 {
                        let mut untold = untold.clone();
                        let mut call = LeaseCall::new(token.clone(), verb.clone());
                        let reply = untold.drive_losing_answers(lost, &mut call).unwrap();
                        assert_eq!(
                            std::mem::discriminant(&reply),
                            std::mem::discriminant(&expected),
                            "{verb:?}: {reply:?}"
                        );
                        assert_eq!(
                            apart_from_its_revision(&untold),
                            apart_from_its_revision(&told),
                            "{verb:?}"
                        );
                    }
                }
            }
        }
    }

    #[test]
    fn a_verb_repeated_after_somebody_took_over_is_stale() {
        for verb in [Verb::Renew, Verb::Publish(body("60 %")), Verb::Release] {
            let (mut story, alice) = begun(replay(Lapse::Takeover));
            let _ = story.call(&alice, verb.clone()); // the answer was lost
            let bob = story.wait(100).lease_of(BOB);
            assert_eq!(winner(&story.call(&alice, verb)), None);
            assert_eq!(story.finish(&bob, "done"), LeaseReply::Ended);
        }
    }

    #[test]
    fn a_resolution_may_be_repeated() {
        for policy in either_use() {
            for resolution in [Resolution::Vacant, Resolution::Completed(body("by hand"))] {
                for lost in 0..16 {
                    let (mut story, alice) = begun(policy);
                    let _ = story.call(&alice, Verb::Fence);
                    let mut resolve =
                        Resolve::new(slot_key(), resolution.clone(), policy, OPERATOR);
                    let resolved = story.drive_losing_answers(lost, &mut resolve);
                    assert_eq!(resolved, Ok(Resolved::Done), "{resolution:?} {lost}");
                }
            }
        }
    }

    /// A store that breaks its laws: the comparison always fails, yet the slot is the owner's.
    #[test]
    fn an_owner_does_not_ask_without_end() {
        let (mut story, alice) = begun(replay(Lapse::Takeover));
        let mut call = LeaseCall::new(alice, Verb::Renew);
        let mut step = call.start(story.fresh());
        let mut asked = 0;
        while let Step::Ask(_) = step {
            asked += 1;
            assert!(asked < 100, "it would ask for ever");
            let reply = Swapped {
                now: AT(story.now),
                verdict: Verdict::Lost(story.slot.clone()),
            };
            step = call.on_reply(reply, story.fresh());
        }
        assert_eq!(step, Step::Done(Err(SlotError::Contended)));
    }
}

mod another_process {
    use super::*;

    #[test]
    fn a_worker_that_got_the_token_ends_the_job() {
        for verb in [
            Verb::Finish(body("done")),
            Verb::FinishUnstorable,
            Verb::Fence,
            Verb::Release,
            Verb::Forget,
        ] {
            let (mut story, alice) = begun(replay(Lapse::Takeover));
            let worker = in_another_process(&alice);
            assert_eq!(
                story.wait(50).call(&worker, verb.clone()),
                LeaseReply::Ended
            );
            assert!(!matches!(
                story.begin_as(BOB, SAME),
                Decision::InProgress(_)
            ));
        }
    }

    #[test]
    fn it_keeps_what_was_published_though_the_token_does_not_carry_it() {
        let (mut story, alice) = begun(replay(Lapse::Takeover));
        let alice = story.held(&alice, Verb::Publish(body("task=1")));
        let worker = in_another_process(&alice);
        assert_eq!(worker.published(), None);
        let worker = story.wait(50).held(&worker, Verb::Renew);
        assert_eq!(worker.published(), Some(&body("task=1")));
        let worker = in_another_process(&worker);
        assert_eq!(story.call(&worker, Verb::Release), LeaseReply::Ended);
        assert_eq!(story.lease_of(BOB).published(), Some(&body("task=1")));
    }

    #[test]
    fn two_holders_of_one_token_do_not_make_each_other_stale() {
        let (mut story, alice) = begun(replay(Lapse::Takeover));
        let worker = in_another_process(&alice);
        let alice = story.wait(50).held(&alice, Verb::Renew);
        let worker = story.wait(50).held(&worker, Verb::Publish(body("60 %")));
        let alice = story.held(&alice, Verb::Renew);
        assert_eq!(alice.published(), Some(&body("60 %")));
        assert_eq!(story.finish(&worker, "done"), LeaseReply::Ended);
        assert_eq!(story.finish(&alice, "done"), LeaseReply::Ended);
    }

    #[test]
    fn text_that_is_not_a_token_is_refused() {
        let (_, alice) = begun(replay(Lapse::Takeover));
        let text = alice.to_text();
        for text in ["", "{}", &text[1..], &text[..text.len() - 1]] {
            assert!(LeaseToken::from_text(text).is_err());
        }
    }
}

mod resolve {
    use super::*;

    #[test]
    fn only_what_is_unknown_or_lapsed_is_resolved() {
        for resolution in [Resolution::Vacant, Resolution::Completed(body("by hand"))] {
            let resolved = |story: &mut Story| story.resolve(resolution.clone());
            let mut empty = Story::under(replay(Lapse::Fence));
            assert_eq!(resolved(&mut empty), Resolved::Vacant);
            let (mut live, alice) = begun(replay(Lapse::Fence));
            assert_eq!(resolved(&mut live.clone()), Resolved::NotUnknown);
            assert_eq!(resolved(live.clone().wait(100)), Resolved::Done);
            for (verb, expected) in [
                (Verb::Release, Resolved::NotUnknown),
                (Verb::Finish(body("done")), Resolved::NotUnknown),
                (Verb::Fence, Resolved::Done),
                (Verb::FinishUnstorable, Resolved::Done),
            ] {
                let mut story = live.clone();
                let _ = story.call(&alice, verb);
                let before = story.slot.clone();
                assert_eq!(resolved(&mut story), expected);
                assert_eq!(story.slot == before, expected == Resolved::NotUnknown);
            }
            let _ = live.finish(&alice, "done");
            assert_eq!(live.hit(), "done");
        }
    }

    #[test]
    fn an_owner_that_comes_after_the_resolution_is_stale() {
        let (mut story, alice) = begun(replay(Lapse::Fence));
        story.wait(100);
        let by_hand = Resolution::Completed(body("by hand"));
        assert_eq!(story.resolve(by_hand), Resolved::Done);
        assert_eq!(
            winner(&story.finish(&alice, "late")),
            Some("by hand".into())
        );
        let (mut story, alice) = begun(replay(Lapse::Fence));
        story.wait(100);
        assert_eq!(story.resolve(Resolution::Vacant), Resolved::Done);
        assert_eq!(winner(&story.finish(&alice, "late")), None);
        assert_eq!(story.slot, None);
    }

    #[test]
    fn the_payload_stays_bound_when_the_outcome_is_filled_in() {
        let (mut story, _) = begun(replay(Lapse::Fence));
        story.wait(100);
        let _ = story.resolve(Resolution::Completed(body("by hand")));
        assert_eq!(story.begin_as(BOB, OTHER), Decision::Conflict);
        assert_eq!(story.gone_at(), 10_100 + 1000, "a retention of its own");
    }
}

#[test]
fn a_lapse_that_fences_needs_a_record_that_outlives_its_lease() {
    let fence = |policy: idemp::PolicyBuilder| policy.on_lapse(Lapse::Fence);
    for policy in [
        Policy::replay(MS(100)).lease(MS(100)),
        Policy::replay(MS(30_000)),
        Policy::while_active(MS(100)),
    ] {
        assert!(policy.build().is_ok());
        assert_eq!(fence(policy).build(), Err(PolicyError::NothingLeftToFence));
        assert!(fence(policy.lease(MS(99))).build().is_ok());
    }
}
