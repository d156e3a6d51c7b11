//! The laws, a function each: they ask a store, and say what they saw where it breaks one.
//!
//! [`suite!`](crate::suite) makes a test of each. Call one yourself to see that a store which is
//! broken on purpose is caught.

use std::sync::Arc;

use crate::room::Room;
use crate::subject::Subject;
use crate::world::{Broken, Held, World};

mod bytes;
mod keys;
mod lost;
mod replaced;

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
    "2. A swap wins if and only if the comparison held; then the whole slot is replaced, durably, before the call returns. `apply` is the definition, deadlines included." {
        law_2_a_swap_wins_if_and_only_if_the_comparison_held_and_replaces_the_whole_slot = replaced::as_defined;
    }
    "3. A swap that lost changes nothing, and hands back the slot that defeated it, never one that is already gone." {
        law_3_a_lost_swap_changes_nothing_and_returns_what_defeated_it = lost::changes_nothing;
    }
    "5. Head and body come back byte for byte: any bytes, none, and many." {
        law_5_head_and_body_come_back_byte_for_byte = bytes::come_back;
    }
    "7. Keys never alias: two names that differ in any byte are two slots." {
        law_7_keys_never_alias = keys::never_alias;
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
