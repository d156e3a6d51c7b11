//! Chromium for the tests of a browser: found, or brought by Debian.

use crate::{apt, toolchain};
use std::path::{Path, PathBuf};

/// Names it for the tests, and for us where it is not on the path.
pub(crate) const VARIABLE: &str = "IDEMP_CHROMIUM";

/// What it is called on the path.
const NAMES: [&str; 3] = ["chromium", "chromium-browser", "google-chrome"];

/// What helps where it is missing.
pub(crate) const GET: &str = "apt-get install chromium, or name its program in IDEMP_CHROMIUM";

/// What is here already, without installing anything: its version.
pub(crate) fn here() -> Option<String> {
    toolchain::version(&find().ok()?.display().to_string())
}

/// Its program, installed by Debian if need be and where we are root.
pub(crate) fn prepare() -> Result<String, String> {
    let found = match find() {
        Err(missing) if apt::is_root() && !is_named() => apt::install(&["chromium"])
            .and_then(|()| find())
            .map_err(|why| format!("{missing}\n{why}")),
        found => found,
    };
    found.map(|program| program.display().to_string())
}

fn is_named() -> bool {
    std::env::var_os(VARIABLE).is_some()
}

fn find() -> Result<PathBuf, String> {
    if let Some(named) = std::env::var_os(VARIABLE) {
        let named = PathBuf::from(named);
        return match named.is_file() {
            true => Ok(named),
            false => Err(format!(
                "{VARIABLE} names {}, which is no file",
                named.display()
            )),
        };
    }
    let path = std::env::var_os("PATH").unwrap_or_default();
    let folders: Vec<PathBuf> = std::env::split_paths(&path).collect();
    first(&folders).ok_or_else(|| format!("none of {} is on the path", NAMES.join(", ")))
}

/// A better name counts for more than an earlier folder.
fn first(folders: &[PathBuf]) -> Option<PathBuf> {
    let all = NAMES
        .iter()
        .flat_map(|name| folders.iter().map(move |folder| folder.join(name)));
    all.into_iter().find(|program| is_program(program))
}

#[cfg(unix)]
fn is_program(path: &Path) -> bool {
    use std::os::unix::fs::PermissionsExt;
    std::fs::metadata(path).is_ok_and(|at| at.is_file() && at.permissions().mode() & 0o111 != 0)
}

#[cfg(not(unix))]
fn is_program(path: &Path) -> bool {
    path.is_file()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::invocation::Invocation;
    use crate::workspace;

    #[test]
    fn a_file_that_cannot_be_run_is_no_browser() {
        let folder = workspace::root().join("xtask/src");
        assert!(!is_program(&folder));
        assert!(!is_program(&folder.join("main.rs")));
        let shell = Invocation::new("sh -c").arg("command -v sh").capture();
        assert!(is_program(Path::new(shell.unwrap().trim())));
    }

    #[test]
    fn a_folder_without_a_browser_holds_none() {
        assert_eq!(first(&[workspace::root().to_path_buf()]), None);
        assert_eq!(first(&[]), None);
    }
}
