//! Builds for wasm: the target of rustup, or a system compiler that builds `std` itself.

use super::Trouble;
use crate::debian::Unpacked;
use crate::invocation::Invocation;
use crate::screen;
use crate::tally::Tally;
use crate::toolchain::{self, WASM};

pub(super) fn check(_: &mut Tally) -> Result<String, Trouble> {
    let built = compile(
        "cargo build --release -p idemp --no-default-features",
        "",
        "",
    )?;
    Ok(built.with)
}

/// A build for wasm.
pub(crate) struct Built {
    /// What compiled it, for people.
    pub(crate) with: String,
    /// The folder of its profiles.
    pub(crate) folder: String,
}

/// Runs a cargo build for wasm with whichever compiler is here or can be had. Other flags are another
/// build, which goes below `target` by a name of its own.
pub(crate) fn compile(build: &str, flags: &str, name: &str) -> Result<Built, Trouble> {
    let build = Invocation::new(build).arg("--target").arg(WASM);
    let built = |with: String, target: &str| Built {
        with,
        folder: format!("{target}/{WASM}"),
    };
    // The flags are unstable, and harmless: see where they are.
    let with_flags = |build: Invocation| match flags {
        "" => build,
        flags => build.env("RUSTC_BOOTSTRAP", "1").env("RUSTFLAGS", flags),
    };
    let target = format!("target/{name}");
    let target = target.trim_end_matches('/');
    let ours = with_flags(build.clone()).arg("--target-dir").arg(target);
    if toolchain::has_wasm_target() {
        ours.run()?;
        return Ok(built(WASM.to_string(), target));
    }
    let from_rustup = match toolchain::add("target", WASM) {
        Ok(()) => {
            ours.run()?;
            return Ok(built(
                format!("{WASM}, added to rustup's toolchain"),
                target,
            ));
        }
        Err(why) => why,
    };
    screen::say("rustup cannot add it: taking Debian's compiler, which builds std itself");
    let packages = ["rustc-web", "libstd-rust-web-dev", "rust-web-src"].map(String::from);
    let rustc = match Unpacked::compiler("rustc-wasm", &packages).bring() {
        Ok(home) => home.join("rustc"),
        Err(from_debian) => {
            return Err(Trouble::DidNotRun {
                why: format!(
                    "no compiler here has the target {WASM}\n{from_rustup}\n{from_debian}"
                ),
                remedy: format!("rustup target add {WASM}"),
            });
        }
    };
    let target = format!("target/std-{name}");
    let target = target.trim_end_matches('-');
    let mut build = with_flags(build)
        .arg("-Zbuild-std=std,panic_abort")
        .arg("--target-dir")
        .arg(target)
        .env("RUSTC", rustc.display().to_string())
        .env("RUSTC_BOOTSTRAP", "1");
    if let Some(linker) = toolchain::rust_lld() {
        let linker = linker.display().to_string();
        build = build.env("CARGO_TARGET_WASM32_UNKNOWN_UNKNOWN_LINKER", linker);
    }
    build.run()?;
    let with = format!("{WASM}, with Debian's compiler and its own std");
    Ok(built(with, target))
}
