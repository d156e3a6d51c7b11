//! Every law catches the stores that break it, and says which law it is.

mod shared;

use idemp_conformance::laws::{self, Law};
use shared::faulty::Fault::{self, *};
use shared::faulty::Faulty;
use shared::file::Files;

/// Who breaks which law, and a part of what is said about it then.
fn breakers(law: &str) -> Vec<(Fault, &'static str)> {
    match law {
        "law_1_a_swap_is_atomic_and_no_step_is_lost" => vec![(ReadsThenWrites, "was made twice")],
        "law_1_of_many_callers_exactly_one_wins" => vec![
            (ReadsThenWrites, "callers that asked for one slot at once"),
            (HandsBackWhatItReadBefore, "not to the winner's slot"),
        ],
        "law_1_of_many_that_come_when_a_slot_is_gone_exactly_one_wins" => vec![
            (ReadsThenWrites, "callers that asked for one slot at once"),
            (HandsBackWhatItReadBefore, "not to the winner's slot"),
        ],
        "law_1_of_many_that_take_over_exactly_one_wins" => vec![
            (ReadsThenWrites, "callers that asked for one slot at once"),
            (HandsBackWhatItReadBefore, "not to the winner's slot"),
        ],
        "law_1_two_openings_are_one_store" => vec![
            (ReadsFromItsOwnMemory, "another one then found"),
            (WritesLater, "another one then found"),
        ],
        "law_2_a_swap_wins_if_and_only_if_the_comparison_held_and_replaces_the_whole_slot" => vec![
            (ClaimsWhatHasLapsed, "it has to be `Lost`"),
            (TakesAnyRevision, "it has to be `Lost`"),
            (TakesTheNilRevision, "a read won"),
            (KeepsTheOldHead, "the head differs"),
            (KeepsTheOldBody, "the body differs"),
            (RemovesNothing, "`Lost` to Rev"),
            (TakesNothingForAbsent, "expected Rev"),
            (LosesToNothing, "found nothing"),
        ],
        "law_2_random_commands_are_answered_as_defined" => vec![
            (ClaimsWhatHasLapsed, "IDEMP_CONFORMANCE_SEED="),
            (TakesAnyRevision, "it has to be `Lost`"),
            (KeepsTheOldBody, "what was said to this key"),
            (CountsSpansInSeconds, "gone at"),
            (GoesAMillisecondLate, "on the store's clock"),
            (GoesAMillisecondEarly, "on the store's clock"),
            (MovesDeadlinesBack, "gone at"),
            (KeepsALeaseThatIsGivenUp, "lease until"),
            (RemembersTheDeadlinesOfWhatIsGone, "lease until"),
            (LosesAndProlongs, "gone at"),
            (BringsBackWhatIsGone, "was answered `Won`"),
        ],
        "law_2_a_slot_is_there_until_the_instant_it_is_gone_and_not_at_it" => vec![
            (GoesAMillisecondLate, "on the store's clock"),
            (GoesAMillisecondEarly, "on the store's clock"),
        ],
        "law_2_deadlines_never_move_back" => vec![
            (MovesDeadlinesBack, "was replaced by one with a lease of"),
            (KeepsALeaseThatIsGivenUp, "lease until"),
        ],
        "law_3_a_lost_swap_changes_nothing_and_returns_what_defeated_it" => vec![
            (LosesToNothing, "did not hand back what defeated it"),
            (LosesToWhatIsGone, "had been gone since"),
            (LosesAndPuts, "lost, and changed the slot: "),
            (LosesAndProlongs, "lost, and changed the slot: "),
            (BringsBackWhatIsGone, "was answered `Won`"),
        ],
        "law_4_nothing_goes_before_its_time" => vec![
            (PurgesWithTheLease, "whose lease was over"),
            (MiscountsWhatItPurges, "said that it removed 5"),
            (ForgetsToPurge, "said that it removed 0"),
            (PurgesTheFirstGeneration, "not as it was"),
        ],
        "law_4_a_purge_spares_what_is_claimed_anew" => vec![
            (PurgesByName, "while purges ran"),
            (PurgesTheFirstGeneration, "while purges ran"),
        ],
        "law_4_a_full_store_fails_loudly" => vec![
            (EvictsTheOldest, "one more was answered `Won`"),
            (EvictsWhatHasLapsed, "one more was answered `Won`"),
            (SaysWonWhenFull, "one more was answered `Won`"),
            (IsNeverFull, "one more was answered `Won`"),
            (IsUnavailableWhenFull, "has to say `Full`"),
        ],
        "law_5_head_and_body_come_back_byte_for_byte" => vec![
            (CutsAtAZero, "the body came back"),
            (ReadsBytesAsText, "the body came back"),
            (CutsAt64Kib, "came back with 65535 bytes"),
            (TrimsTheHead, "the head came back"),
            (TakesNothingForAbsent, "nothing lies there"),
        ],
        "law_6_after_a_lost_answer_an_owner_recognises_its_own_doing" => vec![
            (KnowsAnOwnerByItsHead, "did not recognise its own doing"),
            (LosesToNothing, "did not get what the owner published"),
        ],
        "law_6_a_swap_that_is_given_up_happened_whole_or_not_at_all" => vec![
            (
                IsTornWhenGivenUp,
                "neither the old slot lies there nor the new one",
            ),
            (ComesLateWhenGivenUp, "given up"),
        ],
        "law_6_a_store_out_of_reach_says_so_and_shows_no_secret" => vec![
            (IsVacantWhenOutOfReach, "cannot reach its records"),
            (ShowsTheKey, "shows the key"),
            (ShowsTheBody, "shows the body"),
        ],
        "law_7_keys_never_alias" => vec![
            (JoinsParts, "the key"),
            (FoldsCase, "the key"),
            (TrimsNames, "the key"),
            (CutsNames, "the key"),
            (ForgetsTheScope, "the key"),
        ],
        "law_8_one_trip_a_step_and_two_to_take_over" => vec![
            (LosesTwice, "questions to the store"),
            (TakesTwoTrips, "made 2 trips"),
        ],
        _ => vec![],
    }
}

fn catches(name: &'static str, law: Law<Faulty>) {
    let breakers = breakers(name);
    assert!(
        !breakers.is_empty(),
        "no mutant breaks {name}: the law is not finished"
    );
    for (fault, part) in breakers {
        let broken = match law(Faulty(fault), name) {
            Err(broken) => broken.to_string(),
            Ok(()) => panic!("{name} lets {fault:?} pass"),
        };
        let number = &name["law_".len()..][..1];
        assert!(
            broken.contains(&format!("the law: {number}. ")) && broken.contains(part),
            "{name} catches {fault:?}, and does not say {part:?}:\n{broken}"
        );
    }
}

macro_rules! each_catches {
    ([] $($law:ident)*) => {
        $(
            #[test]
            fn $law() {
                if stringify!($law) == "law_1_two_processes_are_one_store" {
                    return a_lock_of_one_process();
                }
                catches(stringify!($law), laws::$law);
            }
        )*
    };
}
idemp_conformance::each_law!([each_catches] []);

/// A store that locks its own threads out, and no other process.
fn a_lock_of_one_process() {
    let here = "mutants::law_1_two_processes_are_one_store";
    let broken = laws::law_1_two_processes_are_one_store(Files { locked: false }, here);
    // The other process comes by here, too.
    if std::env::var_os("IDEMP_CONFORMANCE_ROOM").is_none() {
        let broken = broken.unwrap_err().to_string();
        assert!(
            broken.contains("the law: 1. ") && broken.contains("two processes claimed"),
            "{broken}"
        );
    }
}
