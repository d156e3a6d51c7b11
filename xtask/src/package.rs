//! The npm package, built into `js/dist`.

use crate::steps::Trouble;
use crate::workspace;

/// Makes sure that `js/dist` is there.
pub(crate) fn build() -> Result<(), Trouble> {
    match workspace::root().join("js/dist").is_dir() {
        true => Ok(()),
        false => Err(Trouble::DidNotRun {
            why: "the npm package is not built: there is no js/dist".to_string(),
            remedy: "cargo xtask wasm".to_string(),
        }),
    }
}
