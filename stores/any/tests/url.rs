//! Each URL opens its store, on real servers, and no error tells a URL.

use idemp::{Decision, Fingerprint, Idempotency, Key, Scope};
use idemp_servers::{Postgres, Redis};
use idemp_stores::{AnyStore, FromUrl, OpenError};

/// Creates under a key and replays it; the second time on a store that was opened anew.
async fn creates_once(url: &str) {
    let scope = Scope::new(["tenant-7"]).unwrap();
    let key = Key::digest([url]).unwrap();
    let request = Fingerprint::of_json(b"{}");
    let idem = Idempotency::from_url(url).await.unwrap();
    let Decision::Miss(mut lease) = idem.begin_async(&scope, &key, &request).await.unwrap() else {
        panic!("it is new");
    };
    lease.finish("vt_1").await.unwrap();
    drop((lease, idem));
    let again = Idempotency::from_url(url).await.unwrap();
    let Decision::Hit(replay) = again.begin_async(&scope, &key, &request).await.unwrap() else {
        panic!("it is known");
    };
    assert_eq!(replay.json::<String>().unwrap(), "vt_1");
}

#[tokio::test]
async fn a_path_opens_an_sqlite_file() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("with space ? and & #.db");
    creates_once(&format!("sqlite:{}", path.display())).await;
    assert!(path.exists());
    creates_once(&format!("sqlite://{}", path.display())).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_url_of_postgresql_opens_its_table_and_makes_it_first() {
    creates_once(&Postgres::shared().url()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_url_of_redis_opens_the_server() {
    creates_once(&Redis::shared().url()).await;
}

#[tokio::test]
async fn memory_is_each_time_a_new_one() {
    assert_eq!(
        format!("{:?}", AnyStore::open("memory").await.unwrap()),
        "AnyStore::Memory"
    );
}

#[tokio::test]
async fn what_is_the_url_of_no_store_opens_none() {
    for url in [
        "",
        "memory:x",
        "sqlite",
        "sqlite:",
        "sqlite://",
        "mysql://u:hunter2@h/d",
        "/tmp/x",
    ] {
        let error = AnyStore::open(url).await.unwrap_err();
        assert!(matches!(error, OpenError::Url), "{url}");
    }
}

#[tokio::test]
async fn no_error_tells_a_password() {
    for url in [
        "mysql://user:hunter2@127.0.0.1:1/d",
        "postgres://user:hunter2@127.0.0.1:1/d",
        "postgres://user:hunter2@127.0.0.1:many/d",
        "redis://user:hunter2@127.0.0.1:1/0",
        "redis://user:hunter2@127.0.0.1:many/zero",
        "rediss://user:hunter2@127.0.0.1:1/0",
    ] {
        let error = AnyStore::open(url).await.unwrap_err();
        let mut told = format!("{error} {error:?}");
        let mut source = std::error::Error::source(&error);
        while let Some(cause) = source {
            told.push_str(&format!(" {cause} {cause:?}"));
            source = cause.source();
        }
        assert!(!told.contains("hunter2"), "{told}");
    }
}
