//! Processes killed, servers restarted, connections cut: and nothing is lost or done twice.
//!
//! [`under_load`] opens a store, lets clients loose on it that obey the contract, does harm
//! meanwhile, and hands back a [`Report`]: what the [`Ledger`] saw, held against what is promised.
//!
//! ```
//! use idemp::{InPlace, MemoryStore};
//! use idemp_chaos::{Load, under_load};
//!
//! let open = async || InPlace(MemoryStore::new());
//! let report = under_load(&Load::default(), open, |ledger| {
//!     ledger.wait_for_finishes(100); // then kill something, and wait again
//! });
//! println!("nothing happened: {report}");
//! report.assert_nothing_lost();
//! ```
//!
//! Where the clients are processes of their own, which are killed, each has its own [`Ledger`]
//! made by [`Ledger::telling`]: it writes every [`Entry`] as a line of JSON, to a pipe, before the
//! client goes on. The parent reads the lines into its ledger with [`Ledger::note`], sees to it
//! that every key is asked once more ([`audit`]), and judges.

#![cfg(unix)]

mod clients;
mod judge;
mod ledger;

pub use clients::{Load, audit, client, under_load};
pub use judge::Report;
pub use ledger::{Entry, Ledger, Outcome, Stamp};

/// Whether the run is a long one: `IDEMP_NIGHTLY=1`.
#[must_use]
pub fn nightly() -> bool {
    std::env::var_os("IDEMP_NIGHTLY").is_some_and(|value| value == "1")
}
