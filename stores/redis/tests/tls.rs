//! A connection by TLS: to a server whose certificate is trusted, and to none other.
#![cfg(feature = "tls-rustls")]

mod asks;

use std::ffi::OsStr;
use std::net::TcpListener;
use std::process::Command;

use idemp::{AsyncStore, StoreError, Verdict};
use idemp_redis::RedisStore;
use idemp_servers::{Redis, certificate};

/// Where the other half of the test finds the server.
const URL: &str = "IDEMP_TEST_TLS_URL";

#[test]
fn a_certificate_that_is_trusted_connects_and_another_does_not() {
    let folder = std::env::temp_dir().join(format!("idemp-tls-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    let (trusted, key) = certificate(&folder, "trusted");
    let (other, _) = certificate(&folder, "other");
    let [trusted, key] = [trusted, key].map(|path| path.display().to_string());
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
        &key,
        "--tls-ca-cert-file",
        &trusted,
        "--tls-auth-clients",
        "no",
    ]);
    // What is trusted is read from the environment of a process.
    let connects = |to_trust: &OsStr| {
        let mut half = Command::new(std::env::current_exe().unwrap());
        half.args(["--exact", "the_half_that_connects"]);
        half.env("SSL_CERT_FILE", to_trust)
            .env_remove("SSL_CERT_DIR");
        half.env(URL, format!("rediss://localhost:{port}"));
        half.output().unwrap().status.success()
    };
    assert!(connects(trusted.as_ref()));
    assert!(!connects(other.as_ref()));
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
