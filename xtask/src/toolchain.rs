//! The compilers: which are here, and how to get the others.

use crate::debian::Unpacked;
use crate::invocation::Invocation;
use crate::{screen, workspace};
use std::path::{Path, PathBuf};

pub(crate) const WASM: &str = "wasm32-unknown-unknown";

/// What a program says of its version, if it is there and answers.
pub(crate) fn version(program: &str) -> Option<String> {
    let said = Invocation::new(program).arg("--version").capture().ok()?;
    said.lines().next().map(|line| line.trim().to_string())
}

/// Whether the compiler in use has the standard library for wasm.
pub(crate) fn has_wasm_target() -> bool {
    Invocation::new("rustc --print target-libdir --target")
        .arg(WASM)
        .capture()
        .is_ok_and(|folder| Path::new(folder.trim()).is_dir())
}

/// Makes sure that rustup's toolchain has a component or a target, and says what it added.
pub(crate) fn add(kind: &str, name: &str) -> Result<(), String> {
    let adding = Invocation::new(&format!("rustup {kind} add {name}"));
    screen::say(&format!("adding what is missing: {adding}"));
    adding.capture().map(drop)
}

/// The installed toolchain of rustup whose name begins so, without the name of the machine:
/// `1.85.0` for `1.85`, `nightly` for `nightly`.
pub(crate) fn installed(begins: &str) -> Option<String> {
    let list = Invocation::new("rustup toolchain list").capture().ok()?;
    listed(&list, begins).map(String::from)
}

/// A toolchain of rustup, installed if need be.
pub(crate) fn install(channel: &str) -> Result<(), String> {
    let installing = Invocation::new(&format!(
        "rustup toolchain install {channel} --profile minimal"
    ));
    screen::say(&format!("installing what is missing: {installing}"));
    installing.capture().map(drop)
}

/// How to call the compiler of the oldest Rust that is promised.
pub(crate) enum Oldest {
    /// `cargo +1.85.0`, which takes the old cargo as well.
    Rustup(String),
    /// A compiler for cargo to call through `RUSTC`.
    Rustc(PathBuf),
}

impl Oldest {
    /// What is here already, without installing anything.
    pub(crate) fn here(promised: &str) -> Result<Option<Self>, String> {
        if let Some(named) = std::env::var_os("RUSTC_MSRV") {
            let path = PathBuf::from(named);
            if release(&path).is_some_and(|release| is_of(&release, promised)) {
                return Ok(Some(Self::Rustc(path)));
            }
            // It is meant for what the workspace promises; a crate may ask for a newer one.
            if promised == workspace::rust_version()? {
                return Err(format!(
                    "RUSTC_MSRV names {}, which is no rustc {promised}",
                    path.display()
                ));
            }
        }
        if let Some(name) = installed(&format!("{promised}.")).or_else(|| installed(promised)) {
            return Ok(Some(Self::Rustup(name)));
        }
        let home = Unpacked::compiler(&folder(promised), &[]).here();
        Ok(home.map(|home| Self::Rustc(home.join("rustc"))))
    }

    /// What is here, or what rustup or Debian can bring.
    pub(crate) fn find(promised: &str) -> Result<Self, String> {
        if let Some(oldest) = Self::here(promised)? {
            return Ok(oldest);
        }
        let channel = format!("{promised}.0");
        let from_rustup = match install(&channel) {
            Ok(()) => return Ok(Self::Rustup(channel)),
            Err(why) => why,
        };
        let version = |package: &str| format!("{package}={promised}*");
        let packages = [version("rustc-web"), version("libstd-rust-web-dev")];
        match Unpacked::compiler(&folder(promised), &packages).bring() {
            Ok(home) => {
                let rustc = home.join("rustc");
                match release(&rustc) {
                    Some(release) if is_of(&release, promised) => Ok(Self::Rustc(rustc)),
                    other => Err(format!("Debian's rustc-web is {other:?}, not {promised}")),
                }
            }
            Err(from_debian) => Err(format!("{from_rustup}\n{from_debian}")),
        }
    }
}

/// `rust-lld` of the toolchain in use.
pub(crate) fn rust_lld() -> Option<PathBuf> {
    let libraries = Invocation::new("rustc --print target-libdir")
        .capture()
        .ok()?;
    let linker = Path::new(libraries.trim()).parent()?.join("bin/rust-lld");
    linker.is_file().then_some(linker)
}

/// Nightly and cargo-fuzz, installed if need be.
pub(crate) fn prepare_fuzzing() -> Result<(), String> {
    if installed("nightly").is_none() {
        install("nightly")?;
    }
    if version("cargo-fuzz").is_none() {
        let installing = Invocation::new("cargo install cargo-fuzz --locked");
        screen::say(&format!("installing what is missing: {installing}"));
        installing.run()?;
    }
    Ok(())
}

fn folder(promised: &str) -> String {
    format!("rustc-{promised}")
}

fn release(rustc: &Path) -> Option<String> {
    let said = Invocation::new("")
        .arg(rustc.display().to_string())
        .arg("-vV")
        .capture()
        .ok()?;
    said.lines()
        .find_map(|line| line.strip_prefix("release: "))
        .map(String::from)
}

fn is_of(release: &str, promised: &str) -> bool {
    release
        .strip_prefix(promised)
        .is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
}

fn listed<'a>(list: &'a str, begins: &str) -> Option<&'a str> {
    list.lines()
        .filter_map(|line| line.split_whitespace().next())
        .find_map(|name| {
            let rest = name.strip_prefix(begins)?;
            let channel = rest.split('-').next().unwrap_or("");
            channel
                .chars()
                .all(|c| c.is_ascii_digit() || c == '.')
                .then(|| &name[..begins.len() + channel.len()])
        })
}

/// Where tools are kept that only this workspace uses.
pub(crate) fn tools() -> PathBuf {
    workspace::root().join("target/tools")
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIST: &str = "stable-x86_64-unknown-linux-gnu (active, default)\n\
                        nightly-x86_64-unknown-linux-gnu\n\
                        1.850.1-x86_64-unknown-linux-gnu\n\
                        1.85.0-x86_64-unknown-linux-gnu\n";

    #[test]
    fn a_toolchain_is_found_by_its_channel() {
        assert_eq!(listed(LIST, "1.85."), Some("1.85.0"));
        assert_eq!(listed(LIST, "nightly"), Some("nightly"));
        assert_eq!(listed(LIST, "1.84."), None);
        assert_eq!(listed("1.85-aarch64-apple-darwin\n", "1.85"), Some("1.85"));
    }

    #[test]
    fn a_patch_release_keeps_the_promise_and_a_longer_number_does_not() {
        assert!(is_of("1.85.1", "1.85"));
        assert!(is_of("1.85", "1.85"));
        assert!(!is_of("1.850.0", "1.85"));
        assert!(!is_of("1.96.0", "1.85"));
    }
}
