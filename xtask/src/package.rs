//! `cargo xtask wasm`: core as WebAssembly, and the npm package around it, in `js/dist`.

use crate::invocation::Invocation;
use crate::node;
use crate::steps::wasm;
use crate::steps::{Trouble, or_get};

/// No message of a panic names a file: pages would download the names of this machine's folders.
const FLAGS: &str = "-Zlocation-detail=none";

pub(crate) fn main(_: &[String]) -> Result<(), String> {
    match build() {
        Ok(()) => Ok(()),
        Err(Trouble::Failed(why)) => Err(why),
        Err(Trouble::DidNotRun { why, remedy }) => Err(format!("{why}\nto mend it: {remedy}")),
    }
}

/// Builds the package. What has not changed is not built again.
pub(crate) fn build() -> Result<(), Trouble> {
    or_get(node::prepare(), node::GET)?;
    or_get(node::prepare_packages(), node::GET_PACKAGES)?;
    let built = wasm::compile("cargo build -p idemp-wasm --profile wasm", FLAGS)?;
    let glued = format!("{}/glued", built.folder);
    Invocation::new("cargo run --quiet --release -p idemp-wasm-glue")
        .arg(format!("{}/wasm/idemp_wasm.wasm", built.folder))
        .arg(&glued)
        .run()?;
    Invocation::new("node js/build/machine.mjs")
        .arg(&glued)
        .run()?;
    Invocation::new("node js/build/package.mjs").run()?;
    Ok(())
}
