//! The workspace itself: its root, its files, its promises.

use crate::invocation::Invocation;
use std::path::{Path, PathBuf};

/// The folder that holds `Cargo.toml` of the workspace, `xtask/` and all else.
pub(crate) fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .expect("xtask lies in the workspace")
}

/// The text of a file of the workspace.
pub(crate) fn read(path: &str) -> Result<String, String> {
    std::fs::read_to_string(root().join(path))
        .map_err(|error| format!("cannot read {path}: {error}"))
}

/// Every file that git tracks and that is there, relative to the root.
pub(crate) fn tracked_files() -> Result<Vec<String>, String> {
    let listed = Invocation::new("git ls-files -z").capture()?;
    let present = |path: &&str| !path.is_empty() && root().join(path).is_file();
    Ok(listed
        .split('\0')
        .filter(present)
        .map(String::from)
        .collect())
}

/// Every Rust file below a folder, relative to the root, in order.
pub(crate) fn rust_files(folder: &str) -> Result<Vec<String>, String> {
    files(folder, ".rs")
}

/// Every file below a folder whose name ends so, relative to the root, in order. Nothing that npm
/// installed.
pub(crate) fn files(folder: &str, ending: &str) -> Result<Vec<String>, String> {
    let mut found = Vec::new();
    let mut open = vec![PathBuf::from(folder)];
    while let Some(folder) = open.pop() {
        let shown = folder.display().to_string();
        let listing = std::fs::read_dir(root().join(&folder))
            .map_err(|error| format!("cannot list {shown}: {error}"))?;
        for item in listing {
            let item = item.map_err(|error| format!("cannot list {shown}: {error}"))?;
            let path = folder.join(item.file_name());
            let shown = path.display().to_string();
            if shown.ends_with("/node_modules") {
                continue;
            } else if root().join(&path).is_dir() {
                open.push(path);
            } else if shown.ends_with(ending) {
                found.push(shown);
            }
        }
    }
    found.sort();
    Ok(found)
}

/// The names of the programs in a folder, as cargo finds them: Rust files, and folders with a
/// `main.rs`. Empty without the folder.
pub(crate) fn programs(folder: &str) -> Vec<String> {
    let items = std::fs::read_dir(root().join(folder)).into_iter().flatten();
    let is_program = |path: &PathBuf| {
        let file = path.extension().is_some_and(|extension| extension == "rs");
        file || path.join("main.rs").is_file()
    };
    let mut names: Vec<String> = items
        .flatten()
        .map(|item| item.path())
        .filter(is_program)
        .filter_map(|path| Some(path.file_stem()?.to_str()?.to_string()))
        .collect();
    names.sort();
    names
}

/// The oldest Rust that the crates promise to build with, as `Cargo.toml` states it: `1.85`.
pub(crate) fn rust_version() -> Result<String, String> {
    let manifest = read("Cargo.toml")?;
    stated_rust_version(&manifest)
        .map(String::from)
        .ok_or_else(|| "Cargo.toml states no rust-version".to_string())
}

/// A crate that users get.
pub(crate) struct Published {
    pub(crate) name: String,
    /// The oldest Rust that it promises to build with.
    pub(crate) rust_version: String,
}

/// Every member of the workspace that is published.
pub(crate) fn published() -> Result<Vec<Published>, String> {
    let promised = rust_version()?;
    let mut found = Vec::new();
    for member in members(&read("Cargo.toml")?) {
        let manifest = read(&format!("{member}/Cargo.toml"))?;
        if stated(&manifest, "publish") == Some("false") {
            continue;
        }
        let name = stated(&manifest, "name").ok_or(format!("{member} has no name"))?;
        found.push(Published {
            name: name.to_string(),
            rust_version: stated_rust_version(&manifest).unwrap_or(&promised).into(),
        });
    }
    Ok(found)
}

/// Where the tests look for the published vectors (RFC 8785 and others), if that is not there.
pub(crate) fn missing_vectors() -> Option<PathBuf> {
    let folder = match std::env::var_os("IDEMP_VECTORS") {
        Some(folder) => PathBuf::from(folder),
        None => root().join("../shared/vectors"),
    };
    (!folder.is_dir()).then_some(folder)
}

fn stated_rust_version(manifest: &str) -> Option<&str> {
    stated(manifest, "rust-version")
}

/// The first value under this name, without its quotes.
fn stated<'a>(manifest: &'a str, name: &str) -> Option<&'a str> {
    manifest.lines().find_map(|line| {
        let value = line.trim().strip_prefix(name)?.trim_start();
        Some(value.strip_prefix('=')?.trim().trim_matches('"'))
    })
}

/// The lines between `members = [` and `]`.
fn members(manifest: &str) -> Vec<&str> {
    let list = manifest
        .split_once("members = [")
        .map_or("", |(_, rest)| rest);
    let list = list.split_once(']').map_or("", |(list, _)| list);
    let names = list.split(',').map(|name| name.trim().trim_matches('"'));
    names.filter(|name| !name.is_empty()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_promised_rust_is_read_from_the_manifest() {
        let manifest = "[workspace.package]\nedition = \"2024\"\nrust-version = \"1.85\"\n";
        assert_eq!(stated_rust_version(manifest), Some("1.85"));
        assert_eq!(stated_rust_version("rust-version.workspace = true"), None);
    }

    #[test]
    fn a_crate_may_promise_a_newer_rust_and_tools_promise_nothing() {
        let manifest = "members = [\n    \"core\",\n    \"http\",\n]\nexclude = [\"fuzz\"]\n";
        assert_eq!(members(manifest), ["core", "http"]);
        let published = published().unwrap();
        let of = |name| published.iter().find(|one| one.name == name);
        assert_eq!(of("idemp").unwrap().rust_version, rust_version().unwrap());
        assert!(of("idemp-postgres").is_some());
        assert!(of("idemp-servers").is_none() && of("xtask").is_none());
    }

    #[test]
    fn the_root_holds_the_index_and_git_tracks_it() {
        assert!(
            tracked_files()
                .unwrap()
                .contains(&"xtask/src/main.rs".to_string())
        );
        assert!(
            rust_files("xtask/src")
                .unwrap()
                .contains(&"xtask/src/main.rs".to_string())
        );
    }
}
