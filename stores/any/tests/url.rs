//! Each URL opens its store, and no error tells a URL. Those of servers have files of their own.

mod twice;

use idemp_stores::{AnyStore, OpenError};
use twice::creates_once;

#[tokio::test]
async fn a_path_opens_an_sqlite_file() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("with space ? and & #.db");
    creates_once(&format!("sqlite:{}", path.display())).await;
    assert!(path.exists());
    creates_once(&format!("sqlite://{}", path.display())).await;
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
