//! The business row and the outcome: together, or not at all.

#[path = "../examples/same_transaction.rs"]
#[allow(dead_code)] // its `main`
mod example;
mod support;

use std::io::{BufRead, BufReader, Write};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use idemp::{
    AsyncStore as _, Decision, Error, Idempotency, LeaseError, LeaseToken, Policy, StoreError, Swap,
};
use idemp_postgres::PostgresStore;
use idemp_postgres::tokio_postgres::{Client, IsolationLevel, Transaction};
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
    for form in FORMS {
        let (place, idem) = shop().await;
        let mut client = place.client().await;
        for commits in [false, true] {
            let transaction = client.transaction().await.unwrap();
            let inside = form.of(idem.store(), &transaction);
            let lease = miss_in(&idem, &inside, "k").await;
            assert_eq!(lease.attempt(), 1, "a rollback leaves no attempt behind");
            order(transaction.client(), &place.table).await;
            idem.finish_in(&inside, &lease, "order 1").await.unwrap();
            // In there it is done already.
            assert!(begin_in(&idem, &inside, "k").await.is_hit());
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
}

/// Waits until a transaction waits for another one.
async fn somebody_waits(place: &Place) {
    let waits = "SELECT count(*) FROM pg_stat_activity
                 WHERE wait_event_type = 'Lock' AND query ~ '\"KEYS_(swap|lock|put)_within'";
    until("the duplicate waits", async || place.sql(waits) == "1").await;
}

#[tokio::test]
async fn a_duplicate_waits_for_the_transaction_and_gets_what_became_of_it() {
    for (form, commits) in FORMS.map(|form| [(form, true), (form, false)]).concat() {
        let (place, idem) = shop().await;
        let mut client = place.client().await;
        let transaction = client.transaction().await.unwrap();
        let inside = form.of(idem.store(), &transaction);
        let lease = miss_in(&idem, &inside, "k").await;
        let duplicate = {
            let (idem, mut other) = (idem.clone(), place.client().await);
            tokio::spawn(async move {
                let transaction = other.transaction().await.unwrap();
                begin_in(&idem, &form.of(idem.store(), &transaction), "k").await
            })
        };
        somebody_waits(&place).await;
        idem.finish_in(&inside, &lease, "outcome").await.unwrap();
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
    for form in FORMS {
        let (place, idem) = shop().await;
        let wait = Duration::from_millis(100);
        let short = place.options().lock_wait(wait).open().unwrap();
        let (mut first, mut second) = (place.client().await, place.client().await);
        let holds = first.transaction().await.unwrap();
        miss_in(&idem, &form.of(idem.store(), &holds), "k").await;

        let transaction = second.transaction().await.unwrap();
        let theirs = "SET LOCAL lock_timeout = '7s'; SET LOCAL idemp.tenant = 'theirs'";
        transaction.batch_execute(theirs).await.unwrap();
        order(transaction.client(), &place.table).await;
        let inside = form.of(&short, &transaction);
        let asked = Instant::now();
        let decision = begin_in(&idem, &inside, "k").await;
        assert!(asked.elapsed() >= wait && asked.elapsed() < Duration::from_secs(4));
        let Decision::InProgress(other) = &decision else {
            panic!("in progress, not {decision:?}")
        };
        assert_eq!(other.remaining(), Duration::ZERO);
        assert_eq!(decision.retry_after(), Some(Duration::from_secs(1)));
        // Nothing of the transaction is lost, and its settings are its own again.
        settings_are(&transaction, "7s", "theirs").await;
        order(transaction.client(), &place.table).await;
        // And so after every other question.
        let lease = miss_in(&idem, &inside, "another").await;
        settings_are(&transaction, "7s", "theirs").await;
        idem.finish_in(&inside, &lease, "outcome").await.unwrap();
        settings_are(&transaction, "7s", "theirs").await;
        assert!(begin_in(&idem, &inside, "another").await.is_hit());
        settings_are(&transaction, "7s", "theirs").await;
        transaction.commit().await.unwrap();
        assert_eq!(orders(&place), "2");
        // After it a setting that was made for it is empty, or as it was.
        holds.rollback().await.unwrap();
        let transaction = second.transaction().await.unwrap();
        settings_are(&transaction, "0", "").await;
        let inside = form.of(&short, &transaction);
        miss_in(&idem, &inside, "k").await;
        settings_are(&transaction, "0", "").await;
    }
}

async fn settings_are(transaction: &Transaction<'_>, lock_timeout: &str, tenant: &str) {
    for (setting, value) in [("lock_timeout", lock_timeout), ("idemp.tenant", tenant)] {
        let show = format!("SHOW {setting}");
        let shown = transaction.query_one(&show, &[]).await.unwrap();
        assert_eq!(shown.get::<_, &str>(0), value);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn of_many_duplicates_one_places_the_order() {
    for form in FORMS {
        let (place, idem) = shop().await;
        for round in 0..20 {
            let name = format!("key-{round}");
            // Half of them take over from an owner who let it lapse.
            if round % 2 == 1 {
                lapsed(&idem, &name).await;
            }
            let callers = (0..10).map(|_| {
                let (idem, name, table) = (idem.clone(), name.clone(), place.table.clone());
                tokio::spawn(async move {
                    let mut connection = idem.store().pool().get().await.unwrap();
                    let transaction = connection.transaction().await.unwrap();
                    let inside = form.of(idem.store(), &transaction);
                    match begin_in(&idem, &inside, &name).await {
                        Decision::Miss(lease) => {
                            assert_eq!(lease.attempt(), 1 + round % 2);
                            order(transaction.client(), &table).await;
                            idem.finish_in(&inside, &lease, "ordered").await.unwrap();
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
}

/// A lease of an owner who is gone.
async fn lapsed(idem: &Idem, name: &str) -> LeaseToken {
    let short = Policy::replay(60 * MINUTE)
        .lease(Duration::from_millis(1))
        .build()
        .unwrap();
    let lease = miss(&idem.with_policy(short), name).await.detach();
    until("it lapses", async || {
        let now = idem
            .store()
            .swap(&Swap::read(slot(name)))
            .await
            .unwrap()
            .now;
        now >= lease.lease_until()
    })
    .await;
    lease
}

#[tokio::test]
async fn a_lease_of_before_can_be_finished_in_a_transaction_unless_somebody_took_over() {
    for form in FORMS {
        let (place, idem) = shop().await;
        let lease = miss(&idem, "k").await.detach();
        let mut client = place.client().await;
        let transaction = client.transaction().await.unwrap();
        order(transaction.client(), &place.table).await;
        let inside = form.of(idem.store(), &transaction);
        idem.finish_in(&inside, &lease, "outcome").await.unwrap();
        // Until the commit nobody sees it.
        transaction.commit().await.unwrap();
        assert!(begin(&idem, "k").await.is_hit());

        let late = lapsed(&idem, "l").await;
        let _owner = miss(&idem, "l").await.detach();
        let transaction = client.transaction().await.unwrap();
        let inside = form.of(idem.store(), &transaction);
        let finished = idem.finish_in(&inside, &late, "late").await;
        assert!(
            matches!(finished, Err(LeaseError::Stale(_))),
            "{finished:?}"
        );
    }
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
    let moments = [("begun", false), ("finished", false), ("committed", true)];
    for (form, (moment, committed)) in FORMS.map(|form| moments.map(|at| (form, at))).concat() {
        let (place, idem) = shop().await;
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "--nocapture", "the_process_that_is_killed"])
            .env(
                "IDEMP_KILLED",
                format!("{} {} {form:?}", place.server.url(), place.table),
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
        let within = form.of(idem.store(), &transaction);
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
    let told: Vec<&str> = told.split(' ').collect();
    let [url, table, form] = told[..] else {
        panic!("three words")
    };
    let form = FORMS.into_iter().find(|known| format!("{known:?}") == form);
    let idem = Idempotency::new(PostgresStore::options(url).table(table).open().unwrap());
    let mut client = connect(url).await;
    let transaction = client.transaction().await.unwrap();
    let within = form.unwrap().of(idem.store(), &transaction);
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
