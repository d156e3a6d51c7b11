//! Connections that break, servers that are silent, answers that are lost.

mod asks;

use std::sync::Arc;
use std::time::{Duration, Instant};

use asks::{claim, outcome, read, rev};
use idemp::{AsyncStore, Decision, Fingerprint, Idempotency, Key, Scope, StoreError, Verdict};
use idemp_redis::RedisStore;
use idemp_servers::{Proxy, Redis};
use tokio::runtime::Handle;
use tokio::time::timeout;

#[tokio::test]
async fn an_answer_that_was_lost_is_unknown_and_the_next_ask_finds_what_it_did() {
    let server = Redis::start(&[]);
    let proxy = Proxy::to(server.addr());
    let store = RedisStore::connect(server.url_at(proxy.addr()))
        .await
        .unwrap();
    let first = claim("a");
    proxy.cut_after(0);
    let error = store.swap(&first).await.unwrap_err();
    assert!(matches!(error, StoreError::Unavailable(_)), "{error:?}");
    proxy.pass();
    let Verdict::Lost(Some(slot)) = store.swap(&claim("a")).await.unwrap().verdict else {
        panic!("the first ask was carried out");
    };
    assert_eq!(slot.rev, rev(&first));
}

#[tokio::test]
async fn an_owner_whose_answer_was_lost_gets_its_lease_all_the_same() {
    let server = Redis::start(&[]);
    let proxy = Proxy::to(server.addr());
    let store = RedisStore::connect(server.url_at(proxy.addr()))
        .await
        .unwrap();
    let idem = Idempotency::new(store);
    let (scope, key) = (Scope::new(["user-1"]).unwrap(), Key::new("a").unwrap());
    let payload = Fingerprint::of_json(b"{}");
    proxy.cut_after(0);
    let begin = idem.begin_async(&scope, &key, &payload);
    let heal = async {
        let cut = proxy.cuts();
        while proxy.cuts() == cut {
            tokio::task::yield_now().await;
        }
        proxy.pass();
    };
    let (begun, ()) = tokio::join!(begin, heal);
    let Decision::Miss(mut lease) = begun.unwrap() else {
        panic!("the key is new");
    };
    assert_eq!(lease.attempt(), 1);
    lease.finish(&"done").await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn connections_that_were_closed_while_nobody_asked_are_made_anew_before_the_next_question() {
    let server = Redis::start(&[]);
    let builder = RedisStore::builder(server.url()).connections(4);
    let store = builder.connect().await.unwrap();
    let each_asks = async |round: &str| {
        for n in 0..4 {
            let key = format!("{round}-{n}");
            store.swap(&claim(&key)).await.unwrap();
        }
    };
    each_asks("first").await;
    // A task reads from each.
    let tasks = || Handle::current().metrics().num_alive_tasks();
    let reading = tasks();
    server.command(&["CLIENT", "KILL", "TYPE", "normal"]);
    let started = Instant::now();
    while tasks() > reading - 4 {
        assert!(started.elapsed() < Duration::from_secs(10), "they see it");
        tokio::task::yield_now().await;
    }
    each_asks("then").await;
}

#[tokio::test]
async fn a_server_that_is_silent_is_a_timeout_and_is_heard_again_when_it_speaks() {
    let server = Redis::start(&[]);
    let span = Duration::from_millis(200);
    let builder = RedisStore::builder(server.url())
        .answer_within(span)
        .connect_within(span);
    let store = builder.connect().await.unwrap();
    server.pause();
    let started = Instant::now();
    let error = store.swap(&claim("a")).await.unwrap_err();
    assert!(matches!(error, StoreError::Timeout), "{error:?}");
    // The connection is given up; the new one is not made in time either.
    let error = store.swap(&claim("a")).await.unwrap_err();
    assert!(matches!(error, StoreError::Timeout), "{error:?}");
    assert!(
        started.elapsed() < Duration::from_secs(5),
        "waits are bounded"
    );
    server.resume();
    let found = loop {
        match store.swap(&read("a")).await {
            Ok(reply) => break reply,
            Err(error) => assert!(error.is_retryable(), "{error:?}"),
        }
    };
    // Whether the first ask was carried out was not known, and now is.
    assert!(matches!(found.verdict, Verdict::Lost(_)));
}

#[tokio::test]
async fn a_connection_that_is_silent_is_given_up_though_no_caller_waits_for_its_limit() {
    let server = Redis::start(&[]);
    let proxy = Proxy::to(server.addr());
    let limit = Duration::from_millis(400);
    let builder = RedisStore::builder(server.url_at(proxy.addr())).answer_within(limit);
    let store = builder.connect().await.unwrap();
    let patience = limit / 4;
    proxy.forget();
    let started = Instant::now();
    while timeout(patience, store.swap(&read("a"))).await.is_err() {
        assert!(started.elapsed() < 10 * limit, "it is silent, and kept");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn of_many_callers_without_a_server_each_waits_for_one_attempt_to_connect() {
    let server = Redis::start(&[]);
    let span = Duration::from_millis(300);
    let builder = RedisStore::builder(server.url())
        .connect_within(span)
        .answer_within(span);
    let store = Arc::new(builder.connect().await.unwrap());
    server.pause();
    let _ = store.swap(&claim("a")).await;
    let started = Instant::now();
    let asks = (0..50).map(|n| {
        let store = store.clone();
        tokio::spawn(async move { store.swap(&claim(&format!("key-{n}"))).await })
    });
    for ask in asks.collect::<Vec<_>>() {
        let error = ask.await.unwrap().unwrap_err();
        assert!(matches!(error, StoreError::Timeout), "{error:?}");
    }
    // One after the other they would take 15 s.
    assert!(
        started.elapsed() < Duration::from_secs(3),
        "{:?}",
        started.elapsed()
    );
    server.resume();
}

#[tokio::test]
async fn a_server_that_was_killed_and_syncs_every_write_has_what_it_acknowledged() {
    let mut server = Redis::start(&["--appendonly", "yes", "--appendfsync", "always"]);
    let store = RedisStore::connect(server.url()).await.unwrap();
    let begun = claim("a");
    store.swap(&begun).await.unwrap();
    let done = outcome(&begun, b"done");
    store.swap(&done).await.unwrap();
    let live = claim("live");
    store.swap(&live).await.unwrap();
    server.kill();
    let error = store.swap(&read("a")).await.unwrap_err();
    assert!(matches!(error, StoreError::Unavailable(_)), "{error:?}");
    server.start_again();
    for (key, rev_there, body) in [("a", rev(&done), &b"done"[..]), ("live", rev(&live), b"")] {
        let Verdict::Lost(Some(slot)) = store.swap(&claim(key)).await.unwrap().verdict else {
            panic!("{key} was acknowledged");
        };
        assert_eq!((slot.rev, &slot.body[..]), (rev_there, body));
    }
}

#[tokio::test]
async fn a_database_and_a_prefix_of_ones_own_share_nothing() {
    let server = Redis::start(&[]);
    let [first, second] = [0, 1].map(|number| format!("{}/{number}", server.url()));
    let stores = [
        RedisStore::connect(&first).await.unwrap(),
        RedisStore::connect(&second).await.unwrap(),
        RedisStore::builder(&first)
            .prefix("other:")
            .connect()
            .await
            .unwrap(),
        RedisStore::builder(&first)
            .prefix([0xff, 0])
            .connect()
            .await
            .unwrap(),
    ];
    for store in &stores {
        assert_eq!(store.swap(&claim("a")).await.unwrap().verdict, Verdict::Won);
    }
    for store in &stores {
        assert_ne!(store.swap(&claim("a")).await.unwrap().verdict, Verdict::Won);
    }
}
