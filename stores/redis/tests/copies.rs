//! What is acknowledged where copies are waited for outlives the primary; what is not waited for
//! may not.

mod asks;

use std::time::Duration;

use asks::{claim, fault, outcome, read, rev};
use idemp::{AsyncStore, Decision, Fingerprint, Idempotency, Key, Scope, StoreError, Verdict};
use idemp_redis::{RedisFault, RedisStore};
use idemp_servers::{Redis, RedisPair, Reply};

const SPAN: Duration = Duration::from_millis(200);

/// A replica that has its primary's data is not yet one whose word the primary counts.
fn pair() -> RedisPair {
    let pair = RedisPair::start(&[]);
    assert_eq!(
        pair.primary.command(&["WAIT", "1", "9000"]),
        Reply::Number(1)
    );
    pair
}

async fn waiting(server: &Redis) -> RedisStore {
    let builder = RedisStore::builder(server.url()).wait_for_replicas(1, SPAN);
    builder.connect().await.unwrap()
}

fn is_unreplicated(error: &StoreError) -> bool {
    matches!(error, StoreError::Unavailable(_))
        && matches!(
            fault(error),
            RedisFault::Unreplicated {
                reached: 0,
                wanted: 1
            }
        )
}

#[tokio::test]
async fn what_the_replica_has_not_heard_is_acknowledged_to_nobody() {
    let pair = pair();
    let store = waiting(&pair.primary).await;
    let (begun, heard) = (claim("a"), claim("heard"));
    for swap in [&begun, &heard, &outcome(&heard, b"heard")] {
        assert_eq!(store.swap(swap).await.unwrap().verdict, Verdict::Won);
    }
    pair.fall_behind();
    let done = outcome(&begun, b"done");
    let later = waiting(&pair.primary).await;
    // Its owner; its owner again; a duplicate and a reader, on connections that wrote nothing.
    for (store, swap) in [
        (&store, &claim("new")),
        (&store, &claim("new")),
        (&store, &done),
        (&store, &outcome(&begun, b"done")),
        (&later, &claim("a")),
        (&later, &read("a")),
    ] {
        let error = store.swap(swap).await.unwrap_err();
        assert!(is_unreplicated(&error), "{error:?}");
    }
    pair.catch_up();
    let Verdict::Lost(Some(slot)) = later.swap(&claim("a")).await.unwrap().verdict else {
        panic!("it is done");
    };
    assert_eq!((slot.rev, &slot.body[..]), (rev(&done), &b"done"[..]));
}

#[tokio::test]
async fn a_lease_that_is_found_again_is_not_granted_before_the_replica_has_heard_of_it() {
    let pair = pair();
    let idem = Idempotency::new(waiting(&pair.primary).await);
    let (scope, key) = (Scope::new(["user-1"]).unwrap(), Key::new("a").unwrap());
    let payload = Fingerprint::of_json(b"{}");
    pair.fall_behind();
    // The driver asks twice: the second time it finds its own lease.
    assert!(idem.begin_async(&scope, &key, &payload).await.is_err());
    pair.catch_up();
    let next = idem.begin_async(&scope, &key, &payload).await.unwrap();
    assert!(
        matches!(next, Decision::InProgress(_)),
        "the lease is nobody's, and lapses"
    );
}

#[tokio::test]
async fn what_was_acknowledged_with_a_wait_outlives_the_primary_and_without_it_does_not() {
    let mut pair = pair();
    let (with, without) = (
        waiting(&pair.primary).await,
        RedisStore::connect(pair.primary.url()).await.unwrap(),
    );
    let mut acknowledged = Vec::new();
    for n in 0..50 {
        let begun = claim(&format!("with-{n}"));
        if n == 25 {
            pair.fall_behind();
        }
        if n > 27 {
            break;
        }
        if with.swap(&begun).await.is_ok() {
            let done = outcome(&begun, b"done");
            if with.swap(&done).await.is_ok() {
                acknowledged.push((n, rev(&done)));
            }
        }
    }
    // A replica may be slow to confirm; silent, it confirms nothing.
    assert!(acknowledged.len() > 10, "most are confirmed in time");
    assert!(
        acknowledged.iter().all(|(n, _)| *n < 25),
        "none while the replica heard nothing"
    );
    let lost = claim("without");
    assert_eq!(without.swap(&lost).await.unwrap().verdict, Verdict::Won);
    pair.fail_over();
    let now = RedisStore::connect(pair.replica.url()).await.unwrap();
    for (n, rev) in acknowledged {
        let Verdict::Lost(Some(slot)) =
            now.swap(&read(&format!("with-{n}"))).await.unwrap().verdict
        else {
            panic!("with-{n} was acknowledged and is lost");
        };
        assert_eq!(slot.rev, rev);
    }
    // This is the loss that the documentation speaks of.
    let gone = now.swap(&read("without")).await.unwrap();
    assert_eq!(gone.verdict, Verdict::Lost(None), "acknowledged, and lost");
}

#[tokio::test]
async fn replicas_that_there_are_not_confirm_nothing() {
    let server = Redis::start(&[]);
    let error = waiting(&server).await.swap(&claim("a")).await.unwrap_err();
    assert!(is_unreplicated(&error), "{error:?}");
}

#[tokio::test]
async fn a_wait_for_disks_takes_a_server_that_knows_it_and_writes_a_file() {
    let on_disk = Redis::start(&["--appendonly", "yes"]);
    let in_memory = Redis::start(&[]);
    let connect = |server: &Redis, local| {
        let builder = RedisStore::builder(server.url());
        builder
            .wait_for_disks(local, u32::from(!local), SPAN)
            .connect()
    };
    let info = on_disk.command(&["INFO", "server"]);
    if info
        .field("redis_version")
        .is_some_and(|version| version.starts_with("7.0."))
    {
        let error = connect(&on_disk, true).await.unwrap_err();
        assert!(
            matches!(fault(&error), RedisFault::TooOld { .. }),
            "{error:?}"
        );
        return;
    }
    let store = connect(&on_disk, true).await.unwrap();
    let begun = claim("a");
    for swap in [&begun, &outcome(&begun, b"done")] {
        assert_eq!(store.swap(swap).await.unwrap().verdict, Verdict::Won);
    }
    assert_ne!(store.swap(&claim("a")).await.unwrap().verdict, Verdict::Won);
    let error = connect(&in_memory, true).await.unwrap_err();
    assert!(
        matches!(fault(&error), RedisFault::NoAppendFile),
        "{error:?}"
    );
    let alone = connect(&in_memory, false).await.unwrap();
    let error = alone.swap(&claim("a")).await.unwrap_err();
    assert!(is_unreplicated(&error), "{error:?}");
}
