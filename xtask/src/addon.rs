//! `cargo xtask node`: the addon of Node, for this machine or for all that can be built for here, and
//! the npm package of each, in `target/npm`.

use crate::invocation::Invocation;
use crate::steps::{Trouble, or_get};
use crate::{node, screen, toolchain, workspace};
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};

/// A target that has a package.
struct Target {
    /// Its folder below `bindings-node/npm`, and the end of the package's name.
    name: &'static str,
    rust: &'static str,
    built: Built,
}

/// How it is built.
enum Built {
    /// On any machine, with zig as its linker and its C compiler, for a libc as old as this.
    ByZig(&'static str),
    /// Only on a machine of its own kind, by `cargo xtask node` there: its linker needs the system's
    /// libraries.
    AtHome,
}

const TARGETS: [Target; 7] = [
    Target {
        name: "linux-x64-gnu",
        rust: "x86_64-unknown-linux-gnu",
        built: Built::ByZig(".2.28"),
    },
    Target {
        name: "linux-arm64-gnu",
        rust: "aarch64-unknown-linux-gnu",
        built: Built::ByZig(".2.28"),
    },
    Target {
        name: "linux-x64-musl",
        rust: "x86_64-unknown-linux-musl",
        built: Built::ByZig(""),
    },
    Target {
        name: "linux-arm64-musl",
        rust: "aarch64-unknown-linux-musl",
        built: Built::ByZig(""),
    },
    Target {
        name: "darwin-x64",
        rust: "x86_64-apple-darwin",
        built: Built::AtHome,
    },
    Target {
        name: "darwin-arm64",
        rust: "aarch64-apple-darwin",
        built: Built::AtHome,
    },
    Target {
        name: "win32-x64-msvc",
        rust: "x86_64-pc-windows-msvc",
        built: Built::AtHome,
    },
];

/// What helps where zig is missing.
pub(crate) const GET_ZIG: &str = "python3 -m venv target/tools/zig && \
                                  target/tools/zig/bin/pip install cargo-zigbuild ziglang";

const PACKAGES: &str = "node bindings-node/build/packages.mjs";

pub(crate) fn main(arguments: &[String]) -> Result<(), String> {
    match arguments {
        [] => Ok(build()?),
        [all] if all == "--all" => every(),
        _ => Err("node knows --all, and nothing else".to_string()),
    }
}

/// Builds the addon for this machine, once a run: several steps want it.
pub(crate) fn build() -> Result<(), Trouble> {
    static BUILT: AtomicBool = AtomicBool::new(false);
    if BUILT.load(Ordering::Relaxed) {
        return Ok(());
    }
    or_get(node::prepare(), node::GET)?;
    let host = host()?;
    let Some(target) = TARGETS.iter().find(|target| target.rust == host) else {
        // The npm package works without: it says so, and so do its tests.
        return Err(Trouble::DidNotRun {
            why: format!("there is no package for {host}"),
            remedy: "add it to xtask/src/addon.rs and bindings-node/npm".to_string(),
        });
    };
    flags(target, Invocation::new("cargo build"))
        .arg("--target-dir")
        .arg("target/addon")
        .run()?;
    place(target, "target/addon/addon")?;
    Invocation::new(PACKAGES).arg(target.name).run()?;
    BUILT.store(true, Ordering::Relaxed);
    Ok(())
}

/// Builds it for every target that can be built for here, and names the others.
fn every() -> Result<(), String> {
    or_get(node::prepare(), node::GET)?;
    let zig = or_get(prepare_zig(), GET_ZIG)?;
    let mut packages = Invocation::new(PACKAGES);
    let mut elsewhere = Vec::new();
    for target in &TARGETS {
        let Built::ByZig(libc) = target.built else {
            elsewhere.push(vec![
                target.name.to_string(),
                "on such a machine: cargo xtask node".to_string(),
            ]);
            continue;
        };
        or_get(
            toolchain::add("target", target.rust),
            &format!("rustup target add {}", target.rust),
        )?;
        let path = std::env::var("PATH").unwrap_or_default();
        flags(target, Invocation::new("cargo zigbuild"))
            .env("PATH", format!("{}:{path}", zig.display()))
            .arg("--target-dir")
            .arg("target/addon")
            .arg("--target")
            .arg(format!("{}{libc}", target.rust))
            .run()?;
        place(target, &format!("target/addon/{}/addon", target.rust))?;
        packages = packages.arg(target.name);
    }
    packages.run()?;
    println!("\nnot built here:\n{}", screen::table(&elsewhere));
    Ok(())
}

/// Which addon, and that no path of this machine goes into it.
fn flags(target: &Target, build: Invocation) -> Invocation {
    let of_cargo = std::env::var("CARGO_HOME")
        .or_else(|_| std::env::var("HOME").map(|home| format!("{home}/.cargo")));
    let of_rust = Invocation::new("rustc --print sysroot").capture();
    let mut flags = format!("--remap-path-prefix={}=idemp", workspace::root().display());
    for (folder, name) in [(of_cargo.ok(), "cargo"), (of_rust.ok(), "rust")] {
        if let Some(folder) = folder {
            flags += &format!(" --remap-path-prefix={}={name}", folder.trim());
        }
    }
    if target.rust.ends_with("-musl") {
        // An addon is loaded into a process that has its libc already.
        flags += " -Ctarget-feature=-crt-static";
    }
    build
        .arg("--profile")
        .arg("addon")
        .arg("-p")
        .arg("idemp-node")
        .env("RUSTFLAGS", flags)
}

/// Puts what was built where the package has it.
fn place(target: &Target, folder: &str) -> Result<(), String> {
    let file = match target.rust {
        rust if rust.contains("-apple-") => "libidemp_node.dylib",
        rust if rust.contains("-windows-") => "idemp_node.dll",
        _ => "libidemp_node.so",
    };
    let from = workspace::root().join(folder).join(file);
    let to = workspace::root().join(format!("bindings-node/npm/{}/idemp.node", target.name));
    // Not written over: a process that has loaded the old one would see it change.
    let _ = std::fs::remove_file(&to);
    let copied = std::fs::copy(&from, &to).map(drop);
    copied.map_err(|error| format!("cannot copy {}: {error}", from.display()))
}

/// The target of the compiler in use.
fn host() -> Result<String, String> {
    let said = Invocation::new("rustc -vV").capture()?;
    let host = said.lines().find_map(|line| line.strip_prefix("host: "));
    Ok(host.ok_or("rustc names no host")?.to_string())
}

/// The folder with cargo-zigbuild in it, which brings zig along.
fn prepare_zig() -> Result<PathBuf, String> {
    let programs = toolchain::tools().join("zig/bin");
    if zig_here().is_none() {
        screen::say(&format!("installing what is missing: {GET_ZIG}"));
        Invocation::new("python3 -m venv target/tools/zig").capture()?;
        Invocation::new("target/tools/zig/bin/pip install --quiet cargo-zigbuild ziglang")
            .capture()?;
    }
    Ok(programs)
}

/// What is here already.
pub(crate) fn zig_here() -> Option<String> {
    let program = toolchain::tools().join("zig/bin/cargo-zigbuild");
    program.is_file().then(|| "target/tools/zig".to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_target_has_a_package_that_the_npm_package_names_in_its_own_version() {
        let js = workspace::read("js/package.json").unwrap();
        let version = env!("CARGO_PKG_VERSION");
        assert!(js.contains(&format!("\"version\": \"{version}\"")));
        for Target { name, rust, .. } in TARGETS {
            let manifest =
                workspace::read(&format!("bindings-node/npm/{name}/package.json")).unwrap();
            for line in [
                format!("\"name\": \"@idemp/node-{name}\""),
                format!("\"version\": \"{version}\""),
                format!("\"rust\": \"{rust}\""),
            ] {
                assert!(manifest.contains(&line), "{name}: {line}");
            }
            let named = format!("\"@idemp/node-{name}\": \"{version}\"");
            assert!(js.contains(&named), "js/package.json: {named}");
        }
        let folders = std::fs::read_dir(workspace::root().join("bindings-node/npm")).unwrap();
        assert_eq!(folders.count(), TARGETS.len());
    }

    #[test]
    fn contributing_names_every_target() {
        let text = workspace::read("CONTRIBUTING.md").unwrap();
        for Target { name, .. } in TARGETS {
            assert!(text.contains(&format!("`{name}`")), "{name}");
        }
    }
}
