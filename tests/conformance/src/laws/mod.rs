//! The laws, a function each: they ask a store, and say what they saw where it breaks one.
//!
//! [`suite!`](crate::suite) makes a test of each. Call one yourself to see that a store which is
//! broken on purpose is caught.

use std::sync::Arc;

use crate::room::Room;
use crate::subject::Subject;
use crate::world::{Broken, Held, World};

mod answers;
mod atomic;
mod bytes;
mod commands;
mod errors;
mod kept;
mod keys;
mod lost;
mod processes;
mod replaced;
mod times;
mod trips;

/// A law as a function: of a store, and of the path of the test that calls it, as
/// `module_path!()` and the test's name make it.
pub type Law<S> = fn(S, &'static str) -> Result<(), Broken>;

macro_rules! laws {
    ($d:tt $($words:literal { $($law:ident = $file:ident :: $check:ident $(, capacity $capacity:literal)?;)* })*) => {
        $($(
            #[doc = $words]
            ///
            /// # Errors
            /// [`Broken`], where the store breaks the law.
            pub fn $law<S: Subject>(subject: S, here: &'static str) -> Result<(), Broken> {
                let capacity: &[usize] = &[$($capacity)?];
                let seen = hold(subject, here, capacity.first().copied(), async |world| {
                    $file::$check(world).await
                });
                let (law, test) = ($words, stringify!($law));
                seen.map_err(|seen| Broken { law, test, seen: seen.0 })
            }
        )*)*

        /// All of them, by name.
        #[must_use]
        pub fn all<S: Subject>() -> Vec<(&'static str, Law<S>)> {
            vec![$($((stringify!($law), $law::<S> as Law<S>)),*),*]
        }

        #[doc(hidden)]
        #[macro_export]
        macro_rules! each_law {
            ([$d($d then:tt)*] $d($d with:tt)*) => {
                $d($d then)*! { $d($d with)* $($($law)*)* }
            };
        }
    };
}

laws! {$
    "1. A swap is atomic for every other client: of all that expect the same, one wins." {
        law_1_a_swap_is_atomic_and_no_step_is_lost = atomic::no_step_is_lost;
        law_1_of_many_callers_exactly_one_wins = atomic::one_of_many;
        law_1_of_many_that_come_when_a_slot_is_gone_exactly_one_wins = atomic::one_after_the_end;
        law_1_of_many_that_take_over_exactly_one_wins = atomic::one_takes_over;
        law_1_two_openings_are_one_store = atomic::two_openings;
        law_1_two_processes_are_one_store = processes::one_store;
    }
    "2. A swap wins if and only if the comparison held; then the whole slot is replaced, durably, before the call returns. `apply` is the definition, deadlines included." {
        law_2_a_swap_wins_if_and_only_if_the_comparison_held_and_replaces_the_whole_slot = replaced::as_defined;
        law_2_random_commands_are_answered_as_defined = commands::as_defined;
        law_2_a_slot_is_there_until_the_instant_it_is_gone_and_not_at_it = times::boundaries;
        law_2_deadlines_never_move_back = times::never_back;
    }
    "3. A swap that lost changes nothing, and hands back the slot that defeated it, never one that is already gone." {
        law_3_a_lost_swap_changes_nothing_and_returns_what_defeated_it = lost::changes_nothing;
    }
    "4. Nothing is purged before `gone_at`, and no bound on size evicts anything earlier: a full store fails loudly." {
        law_4_nothing_goes_before_its_time = kept::until_gone;
        law_4_a_purge_spares_what_is_claimed_anew = kept::claimed_anew;
        law_4_a_full_store_fails_loudly = kept::full_fails_loudly, capacity 8;
    }
    "5. Head and body come back byte for byte: any bytes, none, and many." {
        law_5_head_and_body_come_back_byte_for_byte = bytes::come_back;
    }
    "6. An error means that the outcome is unknown: the write may have happened. The caller asks again with a fresh revision and recognises its own owner token. No error shows a key or a body." {
        law_6_after_a_lost_answer_an_owner_recognises_its_own_doing = answers::lost_on_their_way;
        law_6_a_swap_that_is_given_up_happened_whole_or_not_at_all = answers::given_up;
        law_6_a_store_out_of_reach_says_so_and_shows_no_secret = errors::out_of_reach;
    }
    "7. Keys never alias: two names that differ in any byte are two slots." {
        law_7_keys_never_alias = keys::never_alias;
    }
    "8. One trip to the store a step. Only taking over a crashed owner takes two." {
        law_8_one_trip_a_step_and_two_to_take_over = trips::one_a_step;
    }
}

/// Runs a law on a runtime of its own, in a room of its own.
fn hold<S: Subject>(
    subject: S,
    here: &'static str,
    capacity: Option<usize>,
    law: impl AsyncFnOnce(&World<S>) -> Held,
) -> Held {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(4)
        .enable_all()
        .build()
        .expect("a runtime can be made");
    runtime.block_on(async {
        let room = Room::joined().unwrap_or_else(|| Room::new(capacity));
        law(&World::new(Arc::new(subject), room, here).await).await
    })
}
