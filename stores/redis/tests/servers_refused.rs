//! Servers that cannot be trusted with records are refused, and what a server refuses is told apart.

mod asks;

use std::time::Duration;

use asks::{claim, fault, outcome, read};
use idemp::{AsyncStore, StoreError, Verdict};
use idemp_redis::{RedisFault, RedisStore};
use idemp_servers::{Redis, RedisPair, Reply};

const SMALL: [&str; 2] = ["--maxmemory", "20mb"];

async fn refusal(url: String) -> StoreError {
    match RedisStore::connect(url).await {
        Ok(_) => panic!("the server was accepted"),
        Err(error) => error,
    }
}

#[tokio::test]
async fn a_server_that_may_evict_records_is_refused_by_its_policy_unless_that_is_accepted() {
    let server = Redis::start(&[&SMALL[..], &["--maxmemory-policy", "volatile-ttl"]].concat());
    let error = refusal(server.url()).await;
    assert!(matches!(error, StoreError::Unusable(_)));
    let RedisFault::Evicts { policy } = fault(&error) else {
        panic!("{error:?}");
    };
    assert_eq!(policy, "volatile-ttl");
    let accepted = RedisStore::builder(server.url()).allow_eviction(true);
    let store = accepted.connect().await.unwrap();
    assert_eq!(store.swap(&claim("a")).await.unwrap().verdict, Verdict::Won);
}

#[tokio::test]
async fn a_policy_that_is_changed_at_run_time_is_noticed_before_the_next_begin() {
    let server = Redis::start(&[]);
    let builder = RedisStore::builder(server.url()).check_every(Duration::ZERO);
    let store = builder.connect().await.unwrap();
    let begun = claim("begun");
    store.swap(&begun).await.unwrap();
    server.command(&["CONFIG", "SET", "maxmemory", "100mb"]);
    server.command(&["CONFIG", "SET", "maxmemory-policy", "allkeys-lru"]);
    let error = store.swap(&claim("a")).await.unwrap_err();
    assert!(
        matches!(fault(&error), RedisFault::Evicts { .. }),
        "{error:?}"
    );
    assert!(matches!(error, StoreError::Unusable(_)));
    assert_eq!(
        server.command(&["DBSIZE"]),
        Reply::Number(1),
        "nothing was begun"
    );
    // What was begun can be finished.
    let done = store.swap(&outcome(&begun, b"done")).await.unwrap();
    assert_eq!(done.verdict, Verdict::Won);
    server.command(&["CONFIG", "SET", "maxmemory-policy", "noeviction"]);
    assert_eq!(store.swap(&claim("a")).await.unwrap().verdict, Verdict::Won);
}

#[tokio::test]
async fn a_full_server_takes_nothing_new_and_still_finishes_and_replays_what_it_has() {
    let server = Redis::start(&[&SMALL[..], &["--maxmemory-policy", "noeviction"]].concat());
    let store = RedisStore::connect(server.url()).await.unwrap();
    let (begun, done) = (claim("begun"), claim("done"));
    store.swap(&begun).await.unwrap();
    store.swap(&done).await.unwrap();
    let finished = outcome(&done, b"done");
    store.swap(&finished).await.unwrap();
    // The limit goes below what is held.
    server.command(&["CONFIG", "SET", "maxmemory", "1"]);
    let error = store.swap(&claim("new")).await.unwrap_err();
    assert!(matches!(error, StoreError::Full), "{error:?}");
    let replay = store.swap(&claim("done")).await.unwrap();
    let Verdict::Lost(Some(slot)) = replay.verdict else {
        panic!("it is a replay");
    };
    assert_eq!(&slot.body[..], b"done");
    let found = store.swap(&read("done")).await.unwrap();
    assert!(matches!(found.verdict, Verdict::Lost(Some(_))));
    assert_eq!(
        store.swap(&read("new")).await.unwrap().verdict,
        Verdict::Lost(None)
    );
    let late = store.swap(&outcome(&begun, b"late")).await.unwrap();
    assert_eq!(late.verdict, Verdict::Won);
}

#[tokio::test]
async fn a_replica_is_refused_and_its_primary_is_found_among_several_addresses() {
    let pair = RedisPair::start(&[]);
    let error = refusal(pair.replica.url()).await;
    assert!(matches!(error, StoreError::Unavailable(_)), "{error:?}");
    assert!(matches!(fault(&error), RedisFault::Replica));
    let both = RedisStore::builder(pair.replica.url()).node(pair.primary.url());
    let store = both.connect().await.unwrap();
    assert_eq!(store.swap(&claim("a")).await.unwrap().verdict, Verdict::Won);
}

#[tokio::test]
async fn a_primary_that_becomes_a_replica_answers_neither_asks_nor_reads() {
    let pair = RedisPair::start(&[]);
    let url = pair.primary.url();
    let [asks, reads, replaces] = [(); 3].map(|()| RedisStore::connect(url.clone()));
    let (asks, reads, replaces) = (
        asks.await.unwrap(),
        reads.await.unwrap(),
        replaces.await.unwrap(),
    );
    let begun = claim("a");
    asks.swap(&begun).await.unwrap();
    let other = Redis::start(&[]);
    let port = other.addr().port().to_string();
    pair.primary.command(&["REPLICAOF", "127.0.0.1", &port]);
    for (store, swap) in [
        (asks, claim("a")),
        (reads, read("a")),
        (replaces, outcome(&begun, b"done")),
    ] {
        let error = store.swap(&swap).await.unwrap_err();
        assert!(matches!(error, StoreError::Unavailable(_)), "{error:?}");
    }
}

#[tokio::test]
async fn a_server_that_refuses_its_user_is_unusable_and_says_nothing_of_what_was_asked() {
    let server = Redis::start(&["--requirepass", "open sesame"]);
    let error = refusal(format!("redis://{}", server.addr())).await;
    assert!(matches!(error, StoreError::Unusable(_)), "{error:?}");
    let wrong = refusal(format!("redis://:wrong@{}", server.addr())).await;
    assert!(matches!(wrong, StoreError::Unusable(_)), "{wrong:?}");
    let plain = Redis::start(&[]);
    let user = [
        "ACL", "SETUSER", "limited", "on", ">pw", "~*", "&*", "+@all", "-set", "-evalsha",
    ];
    plain.command(&user);
    let url = format!("redis://limited:pw@{}", plain.addr());
    let store = RedisStore::connect(url).await.unwrap();
    for swap in [claim("a key"), outcome(&claim("a key"), b"a body")] {
        let error = store.swap(&swap).await.unwrap_err();
        assert!(matches!(error, StoreError::Unusable(_)), "{error:?}");
        let RedisFault::Refused { code } = fault(&error) else {
            panic!("{error:?}");
        };
        assert_eq!(code, "NOPERM");
        assert!(!format!("{error:?}").contains("a key"));
    }
}

#[tokio::test]
async fn what_is_no_record_is_corrupt_and_never_vacant() {
    let server = Redis::start(&[]);
    let store = RedisStore::connect(server.url()).await.unwrap();
    let key = asks::key_of("a");
    let lay: [&[&str]; 4] = [
        &["SET", &key, "something else", "PX", "100000"],
        &["SET", &key, "", "PX", "100000"],
        &["LPUSH", &key, "a list"],
        &["SET", &key, "\u{1}0123456789abcdefabcdefghi\0"],
    ];
    for laid in lay {
        server.command(laid);
        for swap in [claim("a"), read("a"), outcome(&claim("a"), b"done")] {
            let error = store.swap(&swap).await.unwrap_err();
            assert!(
                matches!(error, StoreError::Corrupt(_)),
                "{laid:?}: {error:?}"
            );
        }
        server.command(&["DEL", &key]);
    }
    // A record of a newer version, and one that somebody made to stay for ever.
    store.swap(&claim("a")).await.unwrap();
    server.command(&["SETRANGE", &key, "0", "\u{2}"]);
    let error = store.swap(&claim("a")).await.unwrap_err();
    assert!(matches!(fault(&error), RedisFault::Newer { version: 2 }));
    server.command(&["SETRANGE", &key, "0", "\u{1}"]);
    assert!(store.swap(&claim("a")).await.is_ok());
    server.command(&["PERSIST", &key]);
    for swap in [claim("a"), read("a"), outcome(&claim("a"), b"done")] {
        let error = store.swap(&swap).await.unwrap_err();
        assert!(matches!(error, StoreError::Corrupt(_)), "{error:?}");
    }
}

#[tokio::test]
async fn options_out_of_their_range_are_refused_before_anything_is_asked() {
    let nowhere = || RedisStore::builder("redis://127.0.0.1:1");
    let second = Duration::from_secs(1);
    for builder in [
        nowhere().connections(0),
        nowhere().answer_within(Duration::ZERO),
        nowhere().connect_within(Duration::ZERO),
        nowhere().wait_for_replicas(0, second),
        nowhere().wait_for_replicas(1, Duration::ZERO),
        nowhere().wait_for_disks(false, 0, second),
        RedisStore::builder("no address"),
    ] {
        let error = builder.connect().await.unwrap_err();
        assert!(matches!(error, StoreError::Unusable(_)), "{error:?}");
    }
    let error = nowhere().connect().await.unwrap_err();
    assert!(matches!(error, StoreError::Unavailable(_)), "{error:?}");
}

#[tokio::test]
async fn a_script_that_the_server_forgot_is_loaded_again() {
    let server = Redis::start(&[]);
    let store = RedisStore::connect(server.url()).await.unwrap();
    let begun = claim("a");
    store.swap(&begun).await.unwrap();
    server.command(&["SCRIPT", "FLUSH"]);
    let done = store.swap(&outcome(&begun, b"done")).await.unwrap();
    assert_eq!(done.verdict, Verdict::Won);
}
