//! The small stores keep every law: the suite asks nothing that cannot be done.

mod shared;

mod the_definition_in_memory {
    use crate::shared::faulty::{Fault, Faulty};

    idemp_conformance::suite!(Faulty(Fault::None));
}

mod the_definition_with_limits {
    use crate::shared::faulty::{Fault, Limited};

    idemp_conformance::suite!(Limited(Fault::None));
}

/// Where it takes files or another process to see something; the rest is above, and quicker.
mod the_definition_in_files {
    use crate::shared::file::Files;
    use idemp_conformance::laws;

    macro_rules! keeps {
        ($($law:ident)*) => {
            $(
                #[test]
                fn $law() {
                    let here = concat!(module_path!(), "::", stringify!($law));
                    laws::$law(Files { locked: true }, here).unwrap();
                }
            )*
        };
    }
    keeps! {
        law_1_a_swap_is_atomic_and_no_step_is_lost
        law_1_two_openings_are_one_store
        law_1_two_processes_are_one_store
        law_4_nothing_goes_before_its_time
        law_4_a_purge_spares_what_is_claimed_anew
        law_6_a_swap_that_is_given_up_happened_whole_or_not_at_all
        law_6_a_store_out_of_reach_says_so_and_shows_no_secret
    }
}
