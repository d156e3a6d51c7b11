//! `cargo xtask wasm`: core as WebAssembly, and the npm package around it, in `js/dist`.

use crate::invocation::Invocation;
use crate::node;
use crate::steps::wasm;
use crate::steps::{Trouble, or_get};
use std::sync::atomic::{AtomicBool, Ordering};

/// The two builds: the profile, which is the folder, too, and the flags. No message of a panic names a
/// file: pages would download the names of this machine's folders. The threshold is the one of those
/// around it that compresses best.
const BUILDS: [(&str, &str); 2] = [
    (
        "wasm",
        "-Zlocation-detail=none --cfg idemp_small -Cllvm-args=-inline-threshold=35",
    ),
    (
        "wasm-fast",
        "-Zlocation-detail=none -Ctarget-feature=+simd128",
    ),
];

pub(crate) fn main(_: &[String]) -> Result<(), String> {
    Ok(build()?)
}

/// Builds the package, once a run: several steps want it.
pub(crate) fn build() -> Result<(), Trouble> {
    static BUILT: AtomicBool = AtomicBool::new(false);
    if BUILT.load(Ordering::Relaxed) {
        return Ok(());
    }
    or_get(node::prepare(), node::GET)?;
    or_get(node::prepare_packages(), node::GET_PACKAGES)?;
    let mut machine = Invocation::new("node js/build/machine.mjs");
    for (profile, flags) in BUILDS {
        let build = format!("cargo build -p idemp-wasm --profile {profile}");
        let built = wasm::compile(&build, flags, profile)?;
        let trapping = format!("{}/trapping.wasm", built.folder);
        Invocation::new("cargo run --quiet --release -p idemp-wasm-traps")
            .arg(format!("{}/{profile}/idemp_wasm.wasm", built.folder))
            .arg(&trapping)
            .run()?;
        machine = machine.arg(trapping);
    }
    machine.run()?;
    Invocation::new("node js/build/package.mjs").run()?;
    BUILT.store(true, Ordering::Relaxed);
    Ok(())
}
