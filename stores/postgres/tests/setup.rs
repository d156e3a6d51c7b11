//! Opening, migrating, and a server that is not as it has to be.

mod support;

use std::process::Command;

use idemp::{AsyncStore as _, Expect, StoreError, Swap, Verdict};
use idemp_postgres::{Commit, PostgresStore, sql};
use idemp_servers::Postgres;
use support::*;

async fn refused(store: &PostgresStore) -> String {
    match store.swap(&Swap::read(slot("k"))).await {
        Err(StoreError::Unusable(Some(cause))) => cause.to_string(),
        other => panic!("unusable, not {other:?}"),
    }
}

async fn show(client: &idemp_postgres::tokio_postgres::Client, setting: &str) -> String {
    let row = client.query_one(&format!("SHOW {setting}"), &[]).await;
    row.unwrap().get(0)
}

#[tokio::test]
async fn a_connection_is_durable_read_committed_and_bounded_whatever_the_server_says() {
    let server = Postgres::start_with(&[
        ("synchronous_commit", "off"),
        ("default_transaction_isolation", "serializable"),
    ]);
    let store = PostgresStore::open(&server.url()).unwrap();
    store.migrate().await.unwrap();
    let connection = store.pool().get().await.unwrap();
    for (setting, value) in [
        ("synchronous_commit", "on"),
        ("transaction_isolation", "read committed"),
        ("statement_timeout", "5s"),
        ("lock_timeout", "1s"),
    ] {
        assert_eq!(show(&connection, setting).await, value, "{setting}");
    }
    let relaxed = PostgresStore::options(&server.url()).commit(Commit::Relaxed);
    let connection = relaxed.open().unwrap().pool().get().await.unwrap();
    assert_eq!(show(&connection, "synchronous_commit").await, "off");

    // In a transaction of the caller's, on a connection of its own: the commit has to wait.
    let mut client = connect(&server.url()).await;
    assert_eq!(show(&client, "synchronous_commit").await, "off");
    let transaction = client.build_transaction();
    let transaction = transaction
        .isolation_level(idemp_postgres::tokio_postgres::IsolationLevel::ReadCommitted)
        .start()
        .await
        .unwrap();
    ask(
        &store.within(&transaction),
        slot("k"),
        Expect::Vacant,
        put(fresh(), b""),
    )
    .await;
    assert_eq!(show(transaction.client(), "synchronous_commit").await, "on");
    assert_eq!(show(transaction.client(), "lock_timeout").await, "0");
    transaction.rollback().await.unwrap();

    // Without a lease it is the outcome that makes it wait.
    let idem = idemp::Idempotency::new(store);
    let transaction = client.build_transaction();
    let level = idemp_postgres::tokio_postgres::IsolationLevel::ReadCommitted;
    let transaction = transaction.isolation_level(level).start().await.unwrap();
    let inside = idem.store().locking(&transaction);
    let lease = miss_in(&idem, &inside, "l").await;
    idem.finish_in(&inside, &lease, "outcome").await.unwrap();
    assert_eq!(show(transaction.client(), "synchronous_commit").await, "on");
    assert_eq!(show(transaction.client(), "lock_timeout").await, "0");
}

#[tokio::test]
async fn a_table_that_was_made_outlives_a_killed_server_though_the_store_is_relaxed() {
    let mut server =
        Postgres::start_with(&[("wal_writer_delay", "10s"), ("wal_writer_flush_after", "0")]);
    let url = server.url();
    let open = || PostgresStore::options(&url).commit(Commit::Relaxed).open();
    open().unwrap().migrate().await.unwrap();
    server.kill();
    server.start_again();
    let reply = ask(
        &open().unwrap(),
        slot("k"),
        Expect::Vacant,
        put(fresh(), b""),
    )
    .await;
    assert_eq!(reply.verdict, Verdict::Won);
}

/// With `synchronous_commit = off` a killed server forgets what it has acknowledged; the store
/// does not go by that setting. The relaxed mode does, or this proves nothing.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_killed_server_remembers_every_acknowledged_begin_though_it_is_set_to_forget() {
    let mut server = Postgres::start_with(&[
        ("synchronous_commit", "off"),
        ("wal_writer_delay", "10s"),
        ("wal_writer_flush_after", "0"),
    ]);
    let durable = PostgresStore::options(&server.url())
        .table("durable")
        .open()
        .unwrap();
    let relaxed = PostgresStore::options(&server.url())
        .table("relaxed")
        .commit(Commit::Relaxed);
    let relaxed = relaxed.open().unwrap();
    let pooled = PostgresStore::options(&server.url())
        .table("durable")
        .pooled_transactions();
    let pooled = pooled.open().unwrap();
    durable.migrate().await.unwrap();
    relaxed.migrate().await.unwrap();
    server.sql("CHECKPOINT");
    let mut lost = [0, 0, 0];
    for round in 0..5 {
        for n in 0..20 {
            let slot = || slot(&format!("{round}-{n}"));
            let pooled_slot = || support::slot(&format!("pooled-{round}-{n}"));
            for (store, slot) in [(&durable, slot()), (&pooled, pooled_slot())] {
                let reply = ask(store, slot, Expect::Vacant, put(fresh(), b"")).await;
                assert_eq!(reply.verdict, Verdict::Won);
            }
        }
        // Last, so that no durable commit takes them along.
        for n in 0..20 {
            let slot = slot(&format!("{round}-{n}"));
            ask(&relaxed, slot, Expect::Vacant, put(fresh(), b"")).await;
        }
        server.kill();
        server.start_again();
        for n in 0..20 {
            for (at, (store, name)) in [(&durable, ""), (&pooled, "pooled-"), (&relaxed, "")]
                .into_iter()
                .enumerate()
            {
                let name = format!("{name}{round}-{n}");
                let there = loop {
                    // A connection of before the kill is found broken once.
                    match store.swap(&Swap::read(slot(&name))).await {
                        Ok(reply) => break reply.verdict,
                        Err(StoreError::Unavailable(_)) => {}
                        Err(error) => panic!("{error:?}"),
                    }
                };
                lost[at] += u32::from(there == Verdict::Lost(None));
            }
        }
    }
    println!(
        "acknowledged begins lost of 100: durable {}, through a pooler {}, relaxed {}",
        lost[0], lost[1], lost[2]
    );
    assert_eq!(lost[..2], [0, 0]);
    assert!(lost[2] > 0, "the relaxed mode has to lose some");
}

#[tokio::test]
async fn migrations_may_run_at_once_and_again() {
    let place = Place::new();
    let runs = (0..8).map(|_| {
        let store = place.options().open().unwrap();
        tokio::spawn(async move { store.migrate().await })
    });
    for run in runs.collect::<Vec<_>>() {
        run.await.unwrap().unwrap();
    }
    let store = place.store().await;
    ask(&store, slot("k"), Expect::Vacant, put(fresh(), b"")).await;
    place.store().await;
    assert!(read(&store, slot("k")).await.is_some());
    let last = sql::MIGRATIONS.last().unwrap().version;
    let comment = place.sql("SELECT obj_description('KEYS'::regclass)");
    assert_eq!(comment, format!("idemp schema {last}"));
    assert!(
        sql::MIGRATIONS
            .iter()
            .zip(1..)
            .all(|(migration, n)| migration.version == n)
    );
}

#[tokio::test]
async fn a_newer_schema_and_a_table_of_somebody_else_are_refused() {
    let place = Place::new();
    let store = place.store().await;
    place.sql("COMMENT ON TABLE KEYS IS 'idemp schema 99'");
    let error = store.migrate().await.unwrap_err();
    let StoreError::Unusable(Some(cause)) = error else {
        panic!("{error:?}")
    };
    assert!(cause.to_string().contains("schema 99"), "{cause}");

    let place = Place::new();
    place.sql("CREATE TABLE KEYS (id bigint)");
    let store = place.options().open().unwrap();
    let error = store.migrate().await.unwrap_err();
    let StoreError::Unusable(Some(cause)) = error else {
        panic!("{error:?}")
    };
    assert!(
        cause.to_string().contains("not one of this library"),
        "{cause}"
    );
}

#[tokio::test]
async fn a_team_can_run_the_files_by_hand() {
    let url = Postgres::shared().database("by_hand");
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/sql");
    for migration in sql::MIGRATIONS {
        let file = format!("{folder}/{}", migration.name);
        let psql = [
            "-XqAt",
            "--single-transaction",
            "--set",
            "ON_ERROR_STOP=1",
            "--file",
        ];
        let output = Command::new("psql")
            .arg(&url)
            .args(psql)
            .arg(file)
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success() && said.is_empty(), "{said}");
    }
    let store = PostgresStore::open(&url).unwrap();
    ask(&store, slot("k"), Expect::Vacant, put(fresh(), b"")).await;
    // And `migrate` finds its work done.
    store.migrate().await.unwrap();
    assert!(read(&store, slot("k")).await.is_some());
}

#[tokio::test]
async fn schema_and_table_have_the_names_that_are_set() {
    let place = Place::new();
    place.sql("CREATE SCHEMA \"order\" AUTHORIZATION idemp_app");
    let store = place
        .options()
        .schema("order")
        .table("select")
        .open()
        .unwrap();
    store.migrate().await.unwrap();
    ask(&store, slot("k"), Expect::Vacant, put(fresh(), b"")).await;
    assert_eq!(place.sql("SELECT count(*) FROM \"order\".\"select\""), "1");
    for (schema, table) in [
        ("a b", "keys"),
        ("public", "k\"; drop table x; --"),
        ("public", ""),
    ] {
        let opened = place.options().schema(schema).table(table).open();
        assert!(
            matches!(opened, Err(StoreError::Unusable(_))),
            "{schema} {table}"
        );
    }
}

#[tokio::test]
async fn a_missing_table_says_to_migrate() {
    let place = Place::new();
    let cause = refused(&place.options().open().unwrap()).await;
    assert!(cause.contains("run migrate"), "{cause}");
    // Half of it missing, too.
    let store = place.store().await;
    place.sql("DROP TABLE KEYS");
    let cause = refused(&store).await;
    assert!(cause.contains("run migrate"), "{cause}");
}

#[tokio::test]
async fn a_server_that_cannot_be_written_is_refused_even_for_reading() {
    let place = Place::new();
    let store = place.store().await;
    ask(&store, slot("k"), Expect::Vacant, put(fresh(), b"")).await;
    let url = format!(
        "{}?options=-c%20default_transaction_read_only%3Don",
        place.server.url()
    );
    let store = PostgresStore::options(&url)
        .table(&place.table)
        .open()
        .unwrap();
    let cause = refused(&store).await;
    assert!(cause.contains("connect to the writer"), "{cause}");
}

#[tokio::test]
async fn a_standby_is_refused_though_it_has_the_record() {
    let mut server = Postgres::start();
    let store = PostgresStore::open(&server.url()).unwrap();
    store.migrate().await.unwrap();
    ask(&store, slot("k"), Expect::Vacant, put(fresh(), b"")).await;
    let folder = server.sql("SHOW data_directory");
    std::fs::write(format!("{folder}/standby.signal"), "").unwrap();
    server.restart();
    assert_eq!(server.sql("SELECT pg_is_in_recovery()"), "t");
    assert_eq!(server.sql("SELECT count(*) FROM idempotency_keys"), "1");
    let store = PostgresStore::open(&server.url()).unwrap();
    let cause = refused(&store).await;
    assert!(cause.contains("connect to the writer"), "{cause}");
}

#[tokio::test]
async fn who_may_not_log_in_is_told_so_and_no_secret_is() {
    let server = Postgres::shared().addr();
    for url in [
        format!("postgres://nobody_we_know:hunter2@{server}/idemp"),
        format!("postgres://idemp_app:hunter2@{server}/no_such_database"),
    ] {
        let store = PostgresStore::open(&url).unwrap();
        let cause = refused(&store).await;
        assert!(cause.contains("check the"), "{cause}");
        assert!(!cause.contains("hunter2"), "{cause}");
        assert!(!format!("{store:?} {:?}", PostgresStore::options(&url)).contains("hunter2"));
    }
    let opened = PostgresStore::open("postgres://idemp_app:hunter2@host:port/");
    let error = opened.unwrap_err();
    assert!(!format!("{error:?}").contains("hunter2"));
}

#[tokio::test]
async fn too_many_connections_and_a_server_that_is_gone_may_pass() {
    let place = Place::new();
    place.store().await;
    place.sql("CREATE ROLE alone LOGIN CONNECTION LIMIT 1");
    let url = format!("postgres://alone@{}/idemp", place.server.addr());
    let _only = connect(&url).await;
    for url in [&*url, "postgres://idemp_app@127.0.0.1:1/idemp"] {
        let store = PostgresStore::options(url)
            .table(&place.table)
            .open()
            .unwrap();
        let error = store.swap(&Swap::read(slot("k"))).await.unwrap_err();
        assert!(matches!(error, StoreError::Unavailable(_)), "{error:?}");
        assert!(error.is_retryable());
    }
}

#[tokio::test]
async fn a_record_that_no_version_wrote_is_corrupt_and_never_a_miss() {
    let place = Place::new();
    let store = place.store().await;
    for damage in ["rev = '\\x00'", "head = repeat('x', 112)::bytea"] {
        ask(&store, slot(damage), Expect::Vacant, put(fresh(), b"")).await;
        place.sql(&format!("UPDATE KEYS SET {damage}"));
        let swap = Swap {
            slot: slot(damage),
            expect: Expect::Vacant,
            put: put(fresh(), b""),
        };
        let error = store.swap(&swap).await.unwrap_err();
        assert!(matches!(error, StoreError::Corrupt(_)), "{error:?}");
    }
}

#[tokio::test]
async fn numbers_that_make_no_sense_are_refused() {
    use std::time::Duration;

    let options = || PostgresStore::options("postgres://localhost");
    let second = Duration::from_secs(1);
    for options in [
        options().connections(0),
        options().timeout(Duration::ZERO),
        options().timeout(Duration::MAX),
        options().lock_wait(Duration::ZERO),
        options().timeout(second).lock_wait(2 * second),
    ] {
        assert!(matches!(options.open(), Err(StoreError::Unusable(_))));
    }
}
