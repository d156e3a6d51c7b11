//! What Debian installs, where we are root. No service of a package is started.

use crate::invocation::Invocation;
use crate::{screen, toolchain};
use std::path::Path;

/// By Debian's rule a package starts its service unless `policy-rc.d` forbids it.
const POLICY: &str = "/usr/sbin/policy-rc.d";

pub(crate) fn is_root() -> bool {
    let id = Invocation::new("id -u").capture();
    id.is_ok_and(|id| id.trim() == "0")
}

/// Installs packages. Only where [`is_root`].
pub(crate) fn install(packages: &[&str]) -> Result<(), String> {
    if toolchain::version("apt-get").is_none() {
        return Err("this is no Debian: no apt-get".to_string());
    }
    let install = Invocation::new("apt-get install --yes --no-install-recommends")
        .env("DEBIAN_FRONTEND", "noninteractive");
    let install = packages.iter().fold(install, |line, name| line.arg(*name));
    screen::say(&format!("installing what is missing: {install}"));
    let ours = !Path::new(POLICY).exists();
    if ours {
        let forbid = Invocation::new("sh -c")
            .arg("printf '#!/bin/sh\\nexit 101\\n' >\"$0\" && chmod +x \"$0\"")
            .arg(POLICY);
        forbid.capture()?;
    }
    let mut installed = install.capture();
    if installed.is_err() {
        screen::say("asking Debian for its list of packages: apt-get update");
        let _ = Invocation::new("apt-get update").capture();
        installed = install.capture();
    }
    if ours {
        let _ = std::fs::remove_file(POLICY);
    }
    installed.map(drop)
}
