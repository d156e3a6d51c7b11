//! The business row and the outcome: together, or not at all.

#[path = "../examples/same_transaction.rs"]
#[allow(dead_code)] // its `main`
mod example;
mod support;

use std::io::{BufRead, BufReader, Write};
use std::process::{Command, Stdio};
use std::time::Duration;

use idemp::{Decision, Error, Idempotency, LeaseError, Policy, StoreError};
use idemp_postgres::PostgresStore;
use idemp_postgres::tokio_postgres::{Client, IsolationLevel};
use idemp_servers::Postgres;
use support::*;

type Idem = Idempotency<PostgresStore>;

/// A store, and a table of orders beside it.
async fn shop() -> (Place, Idem) {
    let place = Place::new();
    let store = place
        .options()
        .lock_wait(Duration::from_secs(4))
        .open()
        .unwrap();
    store.migrate().await.unwrap();
    let orders = format!("CREATE TABLE {}_orders (id bigint)", place.table);
    place.client().await.batch_execute(&orders).await.unwrap();
    (place, Idempotency::new(store))
}

async fn order(client: &Client, table: &str) {
    let insert = format!("INSERT INTO {table}_orders VALUES (1)");
    client.execute(&insert, &[]).await.unwrap();
}

fn orders(place: &Place) -> String {
    place.sql("SELECT count(*) FROM KEYS_orders")
}

#[tokio::test]
async fn the_example_orders_once_and_refuses_another_payload() {
    let [first, retry, other] = example::orders(&Postgres::shared().url()).await.unwrap();
    assert!(first.ends_with(": a bicycle"), "{first}");
    assert_eq!(retry, first);
    assert!(other.starts_with("409"), "{other}");
    let count = "SELECT count(*) FROM orders";
    assert_eq!(Postgres::shared().sql(count).trim(), "1");
}

#[tokio::test]
async fn the_order_and_its_outcome_are_committed_together() {
    let (place, idem) = shop().await;
    let mut client = place.client().await;
    for commits in [false, true] {
        let transaction = client.transaction().await.unwrap();
        let within = idem.store().within(&transaction);
        let lease = miss_in(&idem, &within, "k").await;
        assert_eq!(lease.attempt(), 1, "a rollback leaves no attempt behind");
        order(transaction.client(), &place.table).await;
        idem.finish_in(&within, &lease, "order 1").await.unwrap();
        // In there it is done already.
        assert!(begin_in(&idem, &within, "k").await.is_hit());
        if commits {
            transaction.commit().await.unwrap();
        } else {
            transaction.rollback().await.unwrap();
            assert_eq!(
                (orders(&place), read(idem.store(), slot("k")).await),
                ("0".into(), None)
            );
        }
    }
    assert_eq!(orders(&place), "1");
    let Decision::Hit(replay) = begin(&idem, "k").await else {
        panic!("a hit")
    };
    assert_eq!(replay.json::<String>().unwrap(), "order 1");
}

#[tokio::test]
async fn a_duplicate_waits_for_the_transaction_and_gets_what_became_of_it() {
    let (place, idem) = shop().await;
    let mut client = place.client().await;
    for commits in [true, false] {
        let name = if commits { "committed" } else { "rolled back" };
        let transaction = client.transaction().await.unwrap();
        let within = idem.store().within(&transaction);
        let lease = miss_in(&idem, &within, name).await;
        let duplicate = {
            let (idem, mut other) = (idem.clone(), place.client().await);
            tokio::spawn(async move {
                let transaction = other.transaction().await.unwrap();
                begin_in(&idem, &idem.store().within(&transaction), name).await
            })
        };
        let waits = "SELECT count(*) FROM pg_stat_activity
                     WHERE wait_event_type = 'Lock' AND query LIKE '%\"KEYS_swap_within%'";
        until("the duplicate waits", async || place.sql(waits) == "1").await;
        idem.finish_in(&within, &lease, "outcome").await.unwrap();
        if commits {
            transaction.commit().await.unwrap();
            assert!(duplicate.await.unwrap().is_hit());
        } else {
            transaction.rollback().await.unwrap();
            assert!(duplicate.await.unwrap().is_miss());
        }
    }
}

#[tokio::test]
async fn a_duplicate_that_waited_long_enough_is_in_progress_and_its_transaction_can_go_on() {
    let (place, idem) = shop().await;
    let short = place
        .options()
        .lock_wait(Duration::from_millis(100))
        .open()
        .unwrap();
    let (mut first, mut second) = (place.client().await, place.client().await);
    let holds = first.transaction().await.unwrap();
    miss_in(&idem, &idem.store().within(&holds), "k").await;

    let transaction = second.transaction().await.unwrap();
    transaction
        .execute("SET LOCAL lock_timeout = '7s'", &[])
        .await
        .unwrap();
    order(transaction.client(), &place.table).await;
    let decision = begin_in(&idem, &short.within(&transaction), "k").await;
    let Decision::InProgress(other) = &decision else {
        panic!("in progress, not {decision:?}")
    };
    assert_eq!(other.remaining(), Duration::ZERO);
    assert_eq!(decision.retry_after(), Some(Duration::from_secs(1)));
    // Nothing of the transaction is lost, and its settings are its own again.
    for (setting, value) in [("lock_timeout", "7s"), ("idemp.tenant", "")] {
        let shown = transaction
            .query_one(&format!("SHOW {setting}"), &[])
            .await
            .unwrap();
        assert_eq!(shown.get::<_, &str>(0), value);
    }
    order(transaction.client(), &place.table).await;
    transaction.commit().await.unwrap();
    assert_eq!(orders(&place), "2");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn of_many_duplicates_one_places_the_order() {
    let (place, idem) = shop().await;
    for round in 0..20 {
        let name = format!("key-{round}");
        let callers = (0..10).map(|_| {
            let (idem, name, table) = (idem.clone(), name.clone(), place.table.clone());
            tokio::spawn(async move {
                let mut connection = idem.store().pool().get().await.unwrap();
                let transaction = connection.transaction().await.unwrap();
                let within = idem.store().within(&transaction);
                match begin_in(&idem, &within, &name).await {
                    Decision::Miss(lease) => {
                        order(transaction.client(), &table).await;
                        idem.finish_in(&within, &lease, "ordered").await.unwrap();
                        transaction.commit().await.unwrap();
                        1
                    }
                    Decision::Hit(_) => 0,
                    other => panic!("{other:?}"),
                }
            })
        });
        let mut placed = 0;
        for caller in callers.collect::<Vec<_>>() {
            placed += caller.await.unwrap();
        }
        assert_eq!(placed, 1, "round {round}");
    }
    assert_eq!(orders(&place), "20");
}

#[tokio::test]
async fn a_lease_of_before_can_be_finished_in_a_transaction_unless_somebody_took_over() {
    let (place, idem) = shop().await;
    let lease = miss(&idem, "k").await.detach();
    let mut client = place.client().await;
    let transaction = client.transaction().await.unwrap();
    order(transaction.client(), &place.table).await;
    idem.finish_in(&idem.store().within(&transaction), &lease, "outcome")
        .await
        .unwrap();
    // Until the commit nobody sees it.
    transaction.commit().await.unwrap();
    assert!(begin(&idem, "k").await.is_hit());

    let short = Policy::replay(MINUTE)
        .lease(Duration::from_millis(1))
        .build()
        .unwrap();
    let late = miss(&idem.with_policy(short), "l").await.detach();
    until("it lapses", async || {
        idem.begin_async(&scope(), &key("l"), &payload())
            .await
            .unwrap()
            .map(|lease| lease.detach())
            .is_miss()
    })
    .await;
    let transaction = client.transaction().await.unwrap();
    let finished = idem
        .finish_in(&idem.store().within(&transaction), &late, "late")
        .await;
    assert!(
        matches!(finished, Err(LeaseError::Stale(_))),
        "{finished:?}"
    );
}

#[tokio::test]
async fn a_transaction_with_an_older_snapshot_is_told_to_begin_again() {
    let (place, idem) = shop().await;
    for level in [IsolationLevel::RepeatableRead, IsolationLevel::Serializable] {
        let name = format!("{level:?}");
        let mut client = place.client().await;
        let transaction = client.build_transaction().isolation_level(level);
        let transaction = transaction.start().await.unwrap();
        transaction.query("SELECT 1", &[]).await.unwrap(); // takes the snapshot
        miss(&idem, &name).await.finish("outcome").await.unwrap();
        let within = idem.store().within(&transaction);
        let begun = idem
            .begin_in(&within, &scope(), &key(&name), &payload())
            .await;
        let error = begun.unwrap_err();
        assert!(error.is_retryable());
        let Error::Store(StoreError::Unavailable(Some(cause))) = error else {
            panic!("{error:?}")
        };
        assert!(cause.to_string().contains("40001"), "{cause}");
        transaction.rollback().await.unwrap();
        // And so it does.
        let transaction = client.build_transaction().isolation_level(level);
        let transaction = transaction.start().await.unwrap();
        assert!(
            begin_in(&idem, &idem.store().within(&transaction), &name)
                .await
                .is_hit()
        );
    }
}

#[tokio::test]
async fn a_process_that_is_killed_before_the_commit_leaves_neither_order_nor_outcome() {
    for (moment, committed) in [("begun", false), ("finished", false), ("committed", true)] {
        let (place, idem) = shop().await;
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "--nocapture", "the_process_that_is_killed"])
            .env(
                "IDEMP_KILLED",
                format!("{} {}", place.server.url(), place.table),
            )
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut input = child.stdin.take().unwrap();
        let mut said = BufReader::new(child.stdout.take().unwrap()).lines();
        // It goes on by one step for every line that it gets.
        for step in ["begun", "finished", "committed"] {
            let reached = said
                .by_ref()
                .map(Result::unwrap)
                .find(|line| line.contains(" at "));
            assert_eq!(reached.as_deref(), Some(&*format!(" at {step}")));
            if step == moment {
                break;
            }
            input.write_all(b"\n").unwrap();
        }
        child.kill().unwrap();
        child.wait().unwrap();

        let mut client = place.client().await;
        let transaction = client.transaction().await.unwrap();
        let within = idem.store().within(&transaction);
        match begin_in(&idem, &within, "k").await {
            Decision::Hit(replay) => {
                assert!(committed, "{moment}");
                assert_eq!(replay.json::<String>().unwrap(), "outcome");
            }
            Decision::Miss(lease) => {
                assert!(!committed && lease.attempt() == 1, "{moment}");
                assert_eq!(orders(&place), "0");
                order(transaction.client(), &place.table).await;
                idem.finish_in(&within, &lease, "outcome").await.unwrap();
                transaction.commit().await.unwrap();
            }
            other => panic!("{moment}: {other:?}"),
        }
        assert_eq!(orders(&place), "1", "{moment}");
    }
}

/// Not a test of its own: what the test above starts as another process.
#[tokio::test]
async fn the_process_that_is_killed() {
    let Ok(told) = std::env::var("IDEMP_KILLED") else {
        return;
    };
    let (url, table) = told.split_once(' ').unwrap();
    let idem = Idempotency::new(PostgresStore::options(url).table(table).open().unwrap());
    let mut client = connect(url).await;
    let transaction = client.transaction().await.unwrap();
    let within = idem.store().within(&transaction);
    let lease = miss_in(&idem, &within, "k").await;
    order(transaction.client(), table).await;
    pause_at("begun");
    idem.finish_in(&within, &lease, "outcome").await.unwrap();
    pause_at("finished");
    transaction.commit().await.unwrap();
    pause_at("committed");
}

fn pause_at(step: &str) {
    println!("\n at {step}");
    let read = std::io::stdin()
        .lock()
        .read_line(&mut String::new())
        .unwrap();
    assert!(read > 0, "the test is gone");
}
