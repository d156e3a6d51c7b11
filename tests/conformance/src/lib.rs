#![doc = include_str!("../README.md")]
#![forbid(unsafe_code)]

mod draws;
pub mod laws;
mod limits;
mod room;
mod subject;
mod world;

pub use limits::Limits;
pub use room::{Room, RoomClock};
pub use subject::Subject;
pub use world::Broken;

/// One `#[test]` for each law, for the [`Subject`] that the expression makes.
///
/// ```ignore
/// idemp_conformance::suite!(Mine);
/// ```
#[macro_export]
macro_rules! suite {
    ($subject:expr) => {
        $crate::each_law!([$crate::test_of_each][$subject]);
    };
}

#[doc(hidden)]
#[macro_export]
macro_rules! test_of_each {
    ([$subject:expr] $($law:ident)*) => {
        $(
            #[test]
            fn $law() {
                let here = concat!(module_path!(), "::", stringify!($law));
                if let Err(broken) = $crate::laws::$law($subject, here) {
                    panic!("{broken}");
                }
            }
        )*
    };
}
