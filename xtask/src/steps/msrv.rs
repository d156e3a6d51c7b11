//! `rust-version` is a promise to users: the libraries build with that compiler.

use super::Trouble;
use crate::invocation::Invocation;
use crate::tally::Tally;
use crate::toolchain::Oldest;
use crate::workspace::{self, Published};
use std::collections::BTreeMap;

pub(super) fn check(_: &mut Tally) -> Result<String, Trouble> {
    let promised = workspace::rust_version()?;
    let mut by_version: BTreeMap<String, Vec<Published>> = BTreeMap::new();
    for one in workspace::published()? {
        let of_its_version = by_version.entry(one.rust_version.clone()).or_default();
        of_its_version.push(one);
    }
    let mut notes = Vec::new();
    for (version, crates) in &by_version {
        match Oldest::find(version) {
            Ok(oldest) => {
                build(&oldest, crates)?;
                notes.push(format!("Rust {version}"));
            }
            Err(why) if *version == promised => {
                return Err(Trouble::DidNotRun {
                    why: format!("there is no rustc {version} here\n{why}"),
                    remedy: format!(
                        "rustup toolchain install {version}.0, or name a rustc {version} in RUSTC_MSRV"
                    ),
                });
            }
            // A driver asks for it, and it is newer than what everybody promises.
            Err(_) => {
                let names: Vec<&str> = crates.iter().map(|one| &*one.name).collect();
                notes.push(format!(
                    "{} not with {version}: none here",
                    names.join(", ")
                ));
            }
        }
    }
    Ok(notes.join("; "))
}

fn build(oldest: &Oldest, crates: &[Published]) -> Result<(), String> {
    let rest = "check --locked --target-dir target/msrv";
    let check = match oldest {
        Oldest::Rustup(channel) => Invocation::new(&format!("cargo +{channel} {rest}")),
        Oldest::Rustc(path) => {
            Invocation::new(&format!("cargo {rest}")).env("RUSTC", path.display().to_string())
        }
    };
    let check = crates
        .iter()
        .fold(check, |check, one| check.arg("-p").arg(&one.name));
    check.run()?;
    check.arg("--all-features").run()
}
