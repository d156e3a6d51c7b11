//! What a question costs: trips, log, dead rows, index scans.

mod support;

use idemp::{Expect, Idempotency, Verdict};
use idemp_servers::Postgres;
use support::trips::Trips;
use support::*;

/// A server that writes no log of its own accord.
fn quiet() -> &'static Postgres {
    static QUIET: std::sync::OnceLock<Postgres> = std::sync::OnceLock::new();
    QUIET.get_or_init(|| {
        Postgres::start_with(&[
            ("autovacuum", "off"),
            ("wal_level", "minimal"),
            ("max_wal_senders", "0"),
            ("checkpoint_timeout", "1h"),
            ("max_wal_size", "8GB"),
        ])
    })
}

/// The tests of this file share the log of one server.
static ALONE: tokio::sync::Mutex<()> = tokio::sync::Mutex::const_new(());

fn log_position() -> u64 {
    quiet()
        .sql("SELECT pg_current_wal_insert_lsn() - '0/0'")
        .parse()
        .unwrap()
}

#[tokio::test]
async fn a_replay_writes_nothing() {
    let _alone = ALONE.lock().await;
    let place = Place::on(quiet());
    let store = place.store().await;
    let idem = Idempotency::new(store);
    miss(&idem, "k").await.finish("outcome").await.unwrap();
    assert!(begin(&idem, "k").await.is_hit());
    let before = log_position();
    for _ in 0..1000 {
        assert!(begin(&idem, "k").await.is_hit());
    }
    assert_eq!(log_position() - before, 0, "bytes of log for 1000 replays");
    // Nor does anybody else who loses; and a begin does, or this counts nothing.
    let other = idemp::Fingerprint::from_parts(1, [2; 32]);
    let conflict = idem.begin_async(&scope(), &key("k"), &other).await.unwrap();
    assert!(matches!(conflict, idemp::Decision::Conflict));
    assert_eq!(log_position() - before, 0);
    assert!(begin(&idem, "l").await.is_miss());
    assert!(log_position() > before);
}

#[tokio::test]
async fn every_finish_stays_in_its_page() {
    let _alone = ALONE.lock().await;
    let place = Place::on(quiet());
    let idem = Idempotency::new(place.store().await);
    for n in 0..500 {
        let mut lease = miss(&idem, &format!("key-{n}")).await;
        lease.publish("task=1").await.unwrap();
        lease.finish(&"x".repeat(100)).await.unwrap();
    }
    let counts = || {
        let counts = place
            .sql("SELECT n_tup_upd, n_tup_hot_upd FROM pg_stat_user_tables WHERE relname = 'KEYS'");
        let (all, hot) = counts.split_once('|').unwrap();
        (all.parse::<u64>().unwrap(), hot.parse::<u64>().unwrap())
    };
    // A connection tells its statistics when it ends, and before only where it is asked more.
    idem.store().pool().close();
    until("the updates are counted", async || counts().0 >= 1000).await;
    let (all, hot) = counts();
    assert_eq!(hot, all);
}

#[tokio::test]
async fn a_question_is_one_trip_and_so_is_each_of_a_takeover() {
    let _alone = ALONE.lock().await;
    let place = Place::on(quiet());
    place.store().await;
    let trips = Trips::to(quiet().addr()).await;
    let options =
        || idemp_postgres::PostgresStore::options(&quiet().url_at(trips.addr)).table(&place.table);
    for (name, store) in [
        ("prepared", options().connections(1).open().unwrap()),
        (
            "pooled",
            options()
                .connections(1)
                .pooled_transactions()
                .open()
                .unwrap(),
        ),
    ] {
        // The first question of a connection also connects, and the first of each kind prepares.
        read(&store, slot("warm")).await;
        ask(&store, slot("warm"), Expect::Vacant, put(fresh(), b"")).await;
        trips.taken();
        let name = slot(name);
        let (a, b, c) = (fresh(), fresh(), fresh());
        for (expect, put, wins) in [
            (Expect::Vacant, put(a, b"a"), true),
            (Expect::Vacant, put(b, b"b"), false),
            (Expect::Rev(a), put(c, b"c"), true),
            (Expect::Rev(a), put(b, b"b"), false),
            (Expect::Rev(c), idemp::Put::Remove, true),
            (Expect::Rev(c), put(b, b"b"), false),
        ] {
            let reply = ask(&store, name.clone(), expect, put).await;
            assert_eq!(reply.verdict == Verdict::Won, wins);
            assert_eq!(trips.taken(), 1);
        }
    }
}

#[tokio::test]
async fn inside_a_transaction_a_question_is_one_trip() {
    let _alone = ALONE.lock().await;
    let place = Place::on(quiet());
    place.store().await;
    let trips = Trips::to(quiet().addr()).await;
    let url = quiet().url_at(trips.addr);
    let options = || idemp_postgres::PostgresStore::options(&url).table(&place.table);
    for form in FORMS {
        let store = options().open().unwrap();
        let idem = Idempotency::new(store.clone());
        let mut pooled = store.pool().get().await.unwrap();
        let mut plain = connect(&url).await;
        for round in 0..2 {
            let transaction = pooled.transaction().await.unwrap();
            trips.taken();
            let inside = form.of(&store, &transaction);
            let name = format!("{form:?}-pooled-{round}");
            let lease = miss_in(&idem, &inside, &name).await;
            let begin = trips.taken();
            idem.finish_in(&inside, &lease, "outcome").await.unwrap();
            // The first of a connection prepares.
            let finish = trips.taken();
            match (round, form) {
                (0, Form::Within) => assert_eq!((begin, finish), (2, 1)),
                (0, Form::Locking) => assert_eq!((begin, finish), (2, 2)),
                _ => assert_eq!((begin, finish), (1, 1)),
            }
            transaction.commit().await.unwrap();

            let transaction = plain.transaction().await.unwrap();
            trips.taken();
            let inside = form.of(&store, &transaction);
            let name = format!("{form:?}-plain-{round}");
            let lease = miss_in(&idem, &inside, &name).await;
            assert_eq!(trips.taken(), 1);
            idem.finish_in(&inside, &lease, "outcome").await.unwrap();
            assert_eq!(trips.taken(), 1);
            transaction.commit().await.unwrap();
        }
        // Through a pooler of transactions nothing is prepared for another one.
        let store = options().pooled_transactions().open().unwrap();
        let idem = Idempotency::new(store.clone());
        let mut pooled = store.pool().get().await.unwrap();
        let transaction = pooled.transaction().await.unwrap();
        trips.taken();
        let inside = form.of(&store, &transaction);
        let lease = miss_in(&idem, &inside, &format!("{form:?}-pooler")).await;
        idem.finish_in(&inside, &lease, "outcome").await.unwrap();
        assert_eq!(trips.taken(), 2);
        let kept = "SELECT count(*) FROM pg_prepared_statements WHERE statement LIKE '%_within%'";
        let kept = transaction.query_typed(kept, &[]).await.unwrap();
        assert_eq!(kept[0].get::<_, i64>(0), 0);
    }
}

#[tokio::test]
async fn a_replay_inside_a_transaction_writes_nothing() {
    let _alone = ALONE.lock().await;
    let place = Place::on(quiet());
    let store = place.store().await;
    let idem = Idempotency::new(store.clone());
    miss(&idem, "k").await.finish("outcome").await.unwrap();
    assert!(begin(&idem, "k").await.is_hit());
    let mut client = place.client().await;
    let before = log_position();
    for _ in 0..100 {
        let transaction = client.transaction().await.unwrap();
        let inside = store.locking(&transaction);
        assert!(begin_in(&idem, &inside, "k").await.is_hit());
        transaction.commit().await.unwrap();
    }
    assert_eq!(log_position() - before, 0, "bytes of log for 100 replays");
    let transaction = client.transaction().await.unwrap();
    let inside = store.locking(&transaction);
    let lease = miss_in(&idem, &inside, "l").await;
    assert_eq!(log_position() - before, 0, "bytes of log for a begin");
    idem.finish_in(&inside, &lease, "outcome").await.unwrap();
    assert!(log_position() > before);
}

#[tokio::test]
async fn a_purge_looks_into_the_index_and_not_at_every_row() {
    let _alone = ALONE.lock().await;
    let place = Place::on(quiet());
    let store = place.store().await;
    place.sql(
        "INSERT INTO KEYS (tenant, key, rev, lease_until, gone_at, purge_after, head, body)
         SELECT 't' || n, '\\x01', '\\x01', g, g, g, '', '' FROM generate_series(1, 20000) n,
         LATERAL (SELECT CASE WHEN n <= 10 THEN timestamptz '2000-01-01' ELSE '9999-01-01' END g) later;
         ANALYZE KEYS",
    );
    let counts = || {
        let counts = place.sql(
            "SELECT seq_tup_read, idx_tup_read FROM pg_stat_user_tables t
             JOIN pg_stat_user_indexes i USING (relid) WHERE indexrelname = 'KEYS_purge'",
        );
        let (scanned, found) = counts.split_once('|').unwrap();
        (
            scanned.parse::<u64>().unwrap(),
            found.parse::<u64>().unwrap(),
        )
    };
    assert_eq!(store.purge(1000).await.unwrap(), 10);
    store.pool().close();
    until("the purge is counted", async || counts().1 > 0).await;
    let (scanned, found) = counts();
    assert_eq!(scanned, 0);
    // The planner looks at the ends of the index, too.
    assert!((10..20).contains(&found), "{found} of 20000");
}
