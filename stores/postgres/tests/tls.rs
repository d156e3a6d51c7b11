//! TLS against a server with a certificate of its own.

#![cfg(feature = "tls")]

mod support;

use std::fs;
use std::path::Path;
use std::sync::Arc;

use idemp::{AsyncStore as _, Expect, StoreError, Swap, Verdict};
use idemp_postgres::PostgresStore;
use idemp_postgres::rustls::pki_types::CertificateDer;
use idemp_postgres::rustls::pki_types::pem::PemObject;
use idemp_postgres::rustls::{ClientConfig, RootCertStore, crypto};
use idemp_servers::Postgres;
use support::*;

/// A server with TLS, and its certificate.
fn server() -> (Postgres, CertificateDer<'static>) {
    let mut server = Postgres::start();
    let folder = server.sql("SHOW data_directory");
    let folder = Path::new(&folder);
    let (certificate, key) = idemp_servers::certificate(folder, "server");
    let owner = {
        use std::os::unix::fs::MetadataExt;
        let folder = fs::metadata(folder).unwrap();
        (folder.uid(), folder.gid())
    };
    for file in [&key, &certificate] {
        use std::os::unix::fs::{PermissionsExt, chown};
        chown(file, Some(owner.0), Some(owner.1)).unwrap();
        fs::set_permissions(file, fs::Permissions::from_mode(0o600)).unwrap();
    }
    server.sql("ALTER SYSTEM SET ssl = on");
    server.restart();
    let certificate = CertificateDer::from_pem_file(certificate).unwrap();
    (server, certificate)
}

fn trusting(roots: RootCertStore) -> ClientConfig {
    ClientConfig::builder_with_provider(Arc::new(crypto::ring::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth()
}

#[tokio::test]
async fn a_server_that_is_trusted_is_talked_to_and_any_other_is_not() {
    let (server, certificate) = server();
    let url = format!("{}?sslmode=require", server.url());
    let mut roots = RootCertStore::empty();
    roots.add(certificate).unwrap();

    let store = PostgresStore::options(&url)
        .tls(trusting(roots))
        .open()
        .unwrap();
    store.migrate().await.unwrap();
    let reply = ask(&store, slot("k"), Expect::Vacant, put(fresh(), b"")).await;
    assert_eq!(reply.verdict, Verdict::Won);
    let connection = store.pool().get().await.unwrap();
    let ssl = "SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()";
    assert!(
        connection
            .query_one(ssl, &[])
            .await
            .unwrap()
            .get::<_, bool>(0)
    );

    let strangers = trusting(RootCertStore::empty());
    let store = PostgresStore::options(&url).tls(strangers).open().unwrap();
    let error = store.swap(&Swap::read(slot("k"))).await.unwrap_err();
    let StoreError::Unavailable(Some(cause)) = error else {
        panic!("{error:?}")
    };
    assert!(cause.to_string().contains("certificate"), "{cause}");
}

#[tokio::test]
async fn a_server_without_tls_is_refused_where_tls_is_required() {
    let url = format!("{}?sslmode=require", Postgres::shared().url());
    let store = PostgresStore::options(&url).tls(trusting(RootCertStore::empty()));
    let error = store
        .open()
        .unwrap()
        .swap(&Swap::read(slot("k")))
        .await
        .unwrap_err();
    assert!(matches!(error, StoreError::Unavailable(_)), "{error:?}");
}
