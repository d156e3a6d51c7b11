//! PostgreSQL killed, and its connections cut, under load.

use idemp_chaos::{Ledger, Load, Report, nightly, under_load};
use idemp_postgres::{Commit, PostgresStore};
use idemp_servers::{Postgres, Proxy};
use std::cell::RefCell;
use std::time::Duration;

const LIMIT: Duration = Duration::from_secs(60);

async fn open(url: String, commit: Commit) -> PostgresStore {
    let options = PostgresStore::options(&url).commit(commit);
    let store = options.open().expect("plain options");
    store.migrate().await.expect("an empty database");
    store
}

/// Kills the server under load and starts it again, several times.
fn killed(commit: Commit, settings: &[(&str, &str)]) -> Report {
    let postgres = RefCell::new(Postgres::start_with(settings));
    let url = postgres.borrow().url();
    let rounds = if nightly() { 50 } else { 5 };
    under_load(
        &Load::default(),
        async || open(url, commit).await,
        |ledger| {
            for _ in 0..rounds {
                ledger.wait_for_finishes(100);
                postgres.borrow_mut().kill();
                postgres.borrow_mut().start_again();
            }
            ledger.wait_for_finishes(100);
        },
    )
}

#[test]
fn a_server_that_is_killed_loses_nothing() {
    // The server's own setting would lose: the store's connections do not leave it to that.
    let report = killed(Commit::Durable, &[("synchronous_commit", "off")]);
    println!("PostgreSQL, killed and restarted: {report}");
    report.assert_nothing_lost();
    assert!(report.failures > 0, "no call noticed: {report}");
}

#[test]
fn a_relaxed_commit_loses_what_it_acknowledged() {
    let report = killed(Commit::Relaxed, &[]);
    println!("PostgreSQL, relaxed commit, killed and restarted: {report}");
    assert!(report.lost_outcomes > 0, "{report}");
}

#[test]
fn connections_that_are_cut_mid_reply_lose_nothing() {
    let postgres = Postgres::shared();
    let proxy = Proxy::to(postgres.addr());
    let url = postgres.url_at(proxy.addr());
    let open = async || open(url, Commit::Durable).await;
    let report = under_load(&Load::default(), open, |ledger| cut(&proxy, ledger));
    println!("PostgreSQL, {} connections cut: {report}", proxy.cuts());
    report.assert_nothing_lost();
    assert!(report.failures > 0, "no call noticed: {report}");
}

/// Replies break off at every place: before their first byte, within, and all at once.
fn cut(proxy: &Proxy, ledger: &Ledger) {
    let rounds = if nightly() { 2000 } else { 150 };
    for round in 0..rounds {
        let cuts = proxy.cuts();
        proxy.cut_after(round * 7 % 1000);
        assert!(proxy.wait_for_cuts(cuts + 1, LIMIT));
        if round % 25 == 24 {
            proxy.hold();
            assert!(proxy.wait_for_held(8, LIMIT), "requests arrive");
            proxy.cut();
            proxy.pass();
        }
        ledger.wait_for_finishes(3);
    }
}
