//! Certificates for servers with TLS.

use std::path::{Path, PathBuf};
use std::process::Command;

/// A certificate for localhost that signs itself, and its key, as files in `folder`.
///
/// # Panics
/// Where `openssl` is missing, or makes none.
#[must_use]
pub fn certificate(folder: &Path, name: &str) -> (PathBuf, PathBuf) {
    let place = |ending| folder.join(format!("{name}.{ending}"));
    let (certificate, key) = (place("crt"), place("key"));
    let made = Command::new("openssl")
        .args(["req", "-x509", "-nodes", "-days", "2"])
        .args(["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256"])
        .args(["-subj", "/CN=localhost"])
        .args(["-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1"])
        .args(["-addext", "basicConstraints=critical,CA:FALSE"])
        .arg("-out")
        .arg(&certificate)
        .arg("-keyout")
        .arg(&key)
        .output()
        .expect("openssl is installed");
    let said = String::from_utf8_lossy(&made.stderr);
    assert!(made.status.success(), "{said}");
    (certificate, key)
}
