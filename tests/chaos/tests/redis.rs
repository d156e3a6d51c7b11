//! Redis killed, failed over, and its connections cut, under load.

use idemp_chaos::{Load, Report, nightly, under_load};
use idemp_redis::{RedisBuilder, RedisStore};
use idemp_servers::{Proxy, Redis, RedisPair};
use std::cell::RefCell;
use std::time::Duration;

const LIMIT: Duration = Duration::from_secs(60);
const ALWAYS: [&str; 4] = ["--appendonly", "yes", "--appendfsync", "always"];
const EVERYSEC: [&str; 4] = ["--appendonly", "yes", "--appendfsync", "everysec"];

async fn open(builder: RedisBuilder) -> RedisStore {
    builder.connect().await.expect("a server that runs")
}

/// Kills the server under load and starts it again, several times.
fn killed(arguments: &[&str]) -> Report {
    let redis = RefCell::new(Redis::start(arguments));
    let builder = RedisStore::builder(redis.borrow().url());
    let rounds = if nightly() { 100 } else { 10 };
    under_load(
        &Load::default(),
        async || open(builder).await,
        |ledger| {
            for _ in 0..rounds {
                ledger.wait_for_finishes(100);
                redis.borrow_mut().kill();
                ledger.wait_for_failures(1);
                redis.borrow_mut().start_again();
            }
            ledger.wait_for_finishes(100);
        },
    )
}

#[test]
fn a_server_with_an_append_only_file_that_is_killed_loses_nothing() {
    let report = killed(&ALWAYS);
    println!("Redis, appendfsync always, killed and restarted: {report}");
    report.assert_nothing_lost();
    // What was acknowledged lies with the kernel: a kill takes it from nobody. A power loss does.
    let report = killed(&EVERYSEC);
    println!("Redis, appendfsync everysec, killed and restarted: {report}");
    report.assert_nothing_lost();
}

#[test]
fn a_server_without_a_file_that_is_killed_loses_everything() {
    let report = killed(&[]);
    println!("Redis, no file, killed and restarted: {report}");
    assert!(report.lost_outcomes > report.finishes / 2, "{report}");
}

#[test]
fn connections_that_are_cut_mid_reply_lose_nothing() {
    let redis = Redis::start(&ALWAYS);
    let proxy = Proxy::to(redis.addr());
    // Several, so that a cut leaves others, as it does with several processes.
    let builder = RedisStore::builder(redis.url_at(proxy.addr())).connections(4);
    let report = under_load(
        &Load::default(),
        async || open(builder).await,
        |ledger| {
            let rounds = if nightly() { 2000 } else { 150 };
            for round in 0..rounds {
                let cuts = proxy.cuts();
                proxy.cut_after(round * 7 % 1000);
                assert!(proxy.wait_for_cuts(cuts + 1, LIMIT), "replies come");
                if round % 25 == 24 {
                    proxy.hold();
                    assert!(proxy.wait_for_held(4, LIMIT), "requests arrive");
                    proxy.cut();
                    proxy.pass();
                }
                ledger.wait_for_finishes(3);
            }
        },
    );
    println!("Redis, {} connections cut: {report}", proxy.cuts());
    report.assert_nothing_lost();
    assert!(report.failures > 0, "no call noticed: {report}");
}

/// The primary dies while its replica lags behind, and the replica is promoted.
fn failed_over(waiting: bool) -> Report {
    let pair = RefCell::new(RedisPair::start(&[]));
    let both = RedisStore::builder(pair.borrow().primary.url()).node(pair.borrow().replica.url());
    let builder = match waiting {
        true => both.wait_for_replicas(1, Duration::from_millis(300)),
        false => both,
    };
    under_load(
        &Load::default(),
        async || open(builder).await,
        |ledger| {
            ledger.wait_for_finishes(200);
            pair.borrow().fall_behind();
            // Meanwhile the primary answers: with a wait that nobody confirms it.
            match waiting {
                true => ledger.wait_for_failures(50),
                false => ledger.wait_for_finishes(50),
            }
            pair.borrow_mut().fail_over();
            pair.borrow_mut().rejoin();
            ledger.wait_for_finishes(200);
        },
    )
}

#[test]
fn a_promoted_replica_has_lost_what_was_not_waited_for() {
    let report = failed_over(false);
    println!("Redis, replica promoted, no wait: {report}");
    // The 50 of the time when it lagged; some more or less were on their way.
    let lost = report.lost_outcomes;
    assert!(
        (30..100).contains(&lost) && report.duplicates > 0,
        "{report}"
    );
}

#[test]
fn a_promoted_replica_has_everything_that_was_waited_for() {
    let rounds = if nightly() { 20 } else { 2 };
    for _ in 0..rounds {
        let report = failed_over(true);
        println!("Redis, replica promoted, wait_for_replicas(1): {report}");
        report.assert_nothing_lost();
    }
}
