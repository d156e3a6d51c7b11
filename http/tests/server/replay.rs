//! What a retry gets.

use crate::harness::{Counter, Rig};

#[tokio::test]
async fn a_retry_gets_the_stored_answer_and_nothing_runs() {
    let (rig, counter) = (Rig::new(), Counter::default());
    let server = rig.serve(rig.layer(), counter.handler()).await;

    let first = server.post("ada", "k-1", "{}").await;
    let retry = server.post("ada", "k-1", "{}").await;

    assert_eq!((first.status, first.text()), (201.try_into().unwrap(), "1"));
    assert!(!first.headers.contains_key("idempotent-replayed"));
    assert_eq!((retry.status, &retry.body), (first.status, &first.body));
    assert!(retry.is_replay());
    assert_eq!(retry.header("cache-control"), Some("no-store"));
    assert_eq!(counter.count(), 1);
    assert_eq!(
        rig.words(),
        ["CHECK", "MISS", "STORE START", "STORED", "CHECK", "HIT"]
    );
}
