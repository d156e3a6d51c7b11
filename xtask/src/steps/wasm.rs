//! Core builds for wasm: the target of rustup, or a system compiler that builds `std` itself.

use super::Trouble;
use crate::debian::Unpacked;
use crate::invocation::{Invocation, Tally};
use crate::screen;
use crate::toolchain::{self, WASM};

pub(super) fn check(_: &mut Tally) -> Result<String, Trouble> {
    let build = "cargo build --release -p idemp --no-default-features --target";
    let build = Invocation::new(build).arg(WASM);
    if toolchain::has_wasm_target() {
        build.run()?;
        return Ok(WASM.to_string());
    }
    let from_rustup = match toolchain::add("target", WASM) {
        Ok(()) => {
            build.run()?;
            return Ok(format!("{WASM}, added to rustup's toolchain"));
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
    let mut build = build
        .arg("-Zbuild-std=std,panic_abort")
        .arg("--target-dir")
        .arg("target/wasm-std")
        .env("RUSTC", rustc.display().to_string())
        .env("RUSTC_BOOTSTRAP", "1");
    if let Some(linker) = toolchain::rust_lld() {
        let linker = linker.display().to_string();
        build = build.env("CARGO_TARGET_WASM32_UNKNOWN_UNKNOWN_LINKER", linker);
    }
    build.run()?;
    Ok(format!("{WASM}, with Debian's compiler and its own std"))
}
