//! The small stores keep every law: the suite asks nothing that cannot be done.

mod shared;

mod the_definition_in_memory {
    use crate::shared::faulty::{Fault, Faulty};

    idemp_conformance::suite!(Faulty(Fault::None));
}

mod the_definition_in_files {
    use crate::shared::file::Files;

    idemp_conformance::suite!(Files { locked: true });
}
