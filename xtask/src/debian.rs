//! Compilers out of Debian's packages, unpacked below `target/tools`. Nothing is installed.

use crate::invocation::Invocation;
use crate::{screen, toolchain};
use std::fs;
use std::path::{Path, PathBuf};

/// Packages that a compiler cannot start without, and that few machines have.
const FOLLOWED: [&str; 2] = ["libstd-rust-web-", "libllvm"];

/// The compiler that `unpack` left in a folder before.
pub(crate) fn unpacked(folder: &str) -> Option<PathBuf> {
    let rustc = toolchain::tools().join(folder).join("rustc");
    rustc.is_file().then_some(rustc)
}

/// Downloads packages and what they need, unpacks them, and hands back their `rustc`.
/// Packages are named as for `apt-get`: `rustc-web` or `rustc-web=1.85*`.
pub(crate) fn unpack(folder: &str, packages: &[String]) -> Result<PathBuf, String> {
    if let Some(rustc) = unpacked(folder) {
        return Ok(rustc);
    }
    if toolchain::version("apt-get").is_none() || toolchain::version("dpkg").is_none() {
        return Err("this is no Debian: no apt-get, no dpkg".to_string());
    }
    let home = toolchain::tools().join(folder);
    let archives = home.join("packages");
    let files = home.join("files");
    // What an interrupted try left behind is not to be trusted.
    let _ = fs::remove_dir_all(&home);
    make(&archives)?;
    make(&files)?;
    screen::say(&format!(
        "unpacking into target/tools/{folder}: {}",
        packages.join(" ")
    ));

    let mut open = packages.to_vec();
    let mut seen = open.clone();
    while let Some(package) = open.pop() {
        let archive = download(&package, &archives)?;
        let archive = archive.display().to_string();
        let depends = Invocation::new("dpkg-deb --field")
            .arg(&archive)
            .arg("Depends")
            .capture()?;
        for needed in followed(&depends) {
            let known = |name: &String| name.split('=').next() == Some(needed);
            if !seen.iter().any(known) {
                seen.push(needed.to_string());
                open.push(needed.to_string());
            }
        }
        Invocation::new("dpkg --extract")
            .arg(archive)
            .arg(files.display().to_string())
            .capture()?;
    }
    let rustc = wrapper(&home)?;
    let _ = fs::remove_dir_all(&archives);
    Ok(rustc)
}

fn make(folder: &Path) -> Result<(), String> {
    fs::create_dir_all(folder).map_err(|error| format!("cannot make {}: {error}", folder.display()))
}

/// One package, in a folder of its own below `archives`, so that its file needs no guessing.
fn download(package: &str, archives: &Path) -> Result<PathBuf, String> {
    let folder = archives.join(package.split('=').next().unwrap_or(package));
    make(&folder)?;
    let shell = Invocation::new("sh -c")
        .arg("cd \"$0\" && exec apt-get download \"$1\"")
        .arg(folder.display().to_string())
        .arg(package);
    if shell.capture().is_err() {
        // A fresh machine has no list of packages yet. Only root may fetch one.
        screen::say("asking Debian for its list of packages: apt-get update");
        let _ = Invocation::new("apt-get update").capture();
        shell.capture()?;
    }
    let downloaded = fs::read_dir(&folder).into_iter().flatten().flatten().next();
    downloaded
        .map(|item| item.path())
        .ok_or_else(|| format!("apt-get brought no {package}"))
}

/// A `rustc` that finds its own libraries. Written last: it marks the folder as complete.
fn wrapper(home: &Path) -> Result<PathBuf, String> {
    let path = home.join("rustc");
    let script = "#!/bin/sh\n\
        here=$(cd \"$(dirname \"$0\")\" && pwd)/files/usr\n\
        for folder in \"$here\"/lib/*-linux-gnu* \"$here\"/lib/llvm-*/lib; do\n\
        \tLD_LIBRARY_PATH=$folder${LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH}\n\
        done\n\
        export LD_LIBRARY_PATH\n\
        exec \"$here/bin/rustc\" \"$@\"\n";
    let broken = |error| format!("cannot write {}: {error}", path.display());
    let draft = home.join("rustc.draft");
    fs::write(&draft, script).map_err(broken)?;
    Invocation::new("chmod +x")
        .arg(draft.display().to_string())
        .capture()?;
    fs::rename(&draft, &path).map_err(broken)?;
    Ok(path)
}

/// `libc6 (>= 2.34), libllvm19` -> `libllvm19`.
fn followed(depends: &str) -> Vec<&str> {
    depends
        .split(',')
        .filter_map(|clause| clause.split_whitespace().next())
        .filter(|name| FOLLOWED.iter().any(|prefix| name.starts_with(prefix)))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_libraries_of_the_compiler_are_followed() {
        let depends = "libc6 (>= 2.34), libgcc-s1 (>= 4.2), libllvm19, libstdc++6 (>= 11)";
        assert_eq!(followed(depends), ["libllvm19"]);
        let depends = "libstd-rust-web-dev (= 1.85.0), gcc, binutils (>= 2.26)";
        assert_eq!(followed(depends), ["libstd-rust-web-dev"]);
    }
}
