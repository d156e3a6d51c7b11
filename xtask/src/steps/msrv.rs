//! `rust-version` is a promise to users: the libraries build with that compiler.

use super::Trouble;
use crate::invocation::{Invocation, Tally};
use crate::toolchain::Oldest;
use crate::workspace;

pub(super) fn check(_: &mut Tally) -> Result<String, Trouble> {
    let promised = workspace::rust_version()?;
    let oldest = match Oldest::find(&promised) {
        Ok(oldest) => oldest,
        Err(why) => {
            return Err(Trouble::DidNotRun {
                why: format!("there is no rustc {promised} here\n{why}"),
                remedy: format!(
                    "rustup toolchain install {promised}.0, or name a rustc {promised} in RUSTC_MSRV"
                ),
            });
        }
    };
    let rest = "check --locked -p idemp -p idemp-tower --target-dir target/msrv";
    let check = match &oldest {
        Oldest::Rustup(channel) => Invocation::new(&format!("cargo +{channel} {rest}")),
        Oldest::Rustc(path) => {
            Invocation::new(&format!("cargo {rest}")).env("RUSTC", path.display().to_string())
        }
    };
    check.run()?;
    check.arg("--all-features").run()?;
    Ok(format!("Rust {promised}"))
}
