//! A connection by TLS: to a server whose certificate is trusted, and to none other.
#![cfg(feature = "tls-rustls")]

mod asks;

use std::net::TcpListener;
use std::path::Path;
use std::process::Command;

use idemp::{AsyncStore, StoreError, Verdict};
use idemp_redis::RedisStore;
use idemp_servers::Redis;

/// Where the other half of the test finds the server.
const URL: &str = "IDEMP_TEST_TLS_URL";

#[test]
fn a_certificate_that_is_trusted_connects_and_another_does_not() {
    let folder = std::env::temp_dir().join(format!("idemp-tls-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    let (trusted, other) = (
        certificate(&folder, "trusted"),
        certificate(&folder, "other"),
    );
    let port = TcpListener::bind(("127.0.0.1", 0))
        .unwrap()
        .local_addr()
        .unwrap()
        .port();
    let server = Redis::start(&[
        "--tls-port",
        &port.to_string(),
        "--tls-cert-file",
        &trusted,
        "--tls-key-file",
        &format!("{trusted}.key"),
        "--tls-ca-cert-file",
        &trusted,
        "--tls-auth-clients",
        "no",
    ]);
    // What is trusted is read from the environment of a process.
    let connects = |to_trust: &str| {
        let mut half = Command::new(std::env::current_exe().unwrap());
        half.args(["--exact", "the_half_that_connects"]);
        half.env("SSL_CERT_FILE", to_trust)
            .env_remove("SSL_CERT_DIR");
        half.env(URL, format!("rediss://localhost:{port}"));
        half.output().unwrap().status.success()
    };
    assert!(connects(&trusted));
    assert!(!connects(&other));
    drop(server);
    std::fs::remove_dir_all(&folder).unwrap();
}

#[tokio::test]
async fn the_half_that_connects() {
    let Ok(url) = std::env::var(URL) else { return };
    let store = match RedisStore::connect(url).await {
        Ok(store) => store,
        Err(StoreError::Unavailable(cause)) => panic!("not trusted: {cause:?}"),
        Err(error) => panic!("{error:?}"),
    };
    let claimed = store.swap(&asks::claim("a")).await.unwrap();
    assert_eq!(claimed.verdict, Verdict::Won);
}

/// A certificate for localhost that signs itself, and its key beside it.
fn certificate(folder: &Path, name: &str) -> String {
    let path = folder.join(name).display().to_string();
    let made = Command::new("openssl")
        .args([
            "req",
            "-x509",
            "-newkey",
            "ec",
            "-pkeyopt",
            "ec_paramgen_curve:P-256",
            "-nodes",
        ])
        .args([
            "-days",
            "2",
            "-subj",
            "/CN=localhost",
            "-addext",
            "subjectAltName=DNS:localhost",
        ])
        .args(["-addext", "basicConstraints=critical,CA:FALSE"])
        .args(["-out", &path, "-keyout", &format!("{path}.key")])
        .output()
        .expect("openssl makes a certificate");
    assert!(
        made.status.success(),
        "{}",
        String::from_utf8_lossy(&made.stderr)
    );
    path
}
