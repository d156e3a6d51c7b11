//! A cluster that changes under load: slots move, and a primary is lost.

mod asks;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed};
use std::time::{Duration, Instant};

use asks::{claim, key_of, outcome, read, rev};
use idemp::{AsyncStore, Rev, Verdict};
use idemp_redis::RedisStore;
use idemp_servers::RedisCluster;
use tokio::time::timeout;

/// Begins and finishes until told to stop, and hands back what was acknowledged.
async fn work(
    store: RedisStore,
    worker: usize,
    stop: Arc<AtomicBool>,
    done_so_far: Arc<AtomicUsize>,
) -> (Vec<(String, Rev)>, usize) {
    let (mut acknowledged, mut errors) = (Vec::new(), 0);
    for n in 0.. {
        if stop.load(Relaxed) {
            break;
        }
        let key = format!("{worker}-{n}");
        let begun = claim(&key);
        match store.swap(&begun).await {
            Ok(reply) => assert_eq!(reply.verdict, Verdict::Won, "{key}"),
            Err(error) => {
                assert!(error.is_retryable(), "{error:?}");
                errors += 1;
                continue;
            }
        }
        let done = outcome(&begun, key.as_bytes());
        match store.swap(&done).await {
            Ok(reply) => {
                assert_eq!(reply.verdict, Verdict::Won, "{key}");
                done_so_far.fetch_add(1, Relaxed);
                acknowledged.push((key, rev(&done)));
            }
            Err(error) => {
                assert!(error.is_retryable(), "{error:?}");
                errors += 1;
            }
        }
    }
    (acknowledged, errors)
}

async fn connect(cluster: &RedisCluster, replicas: u32) -> RedisStore {
    let urls = cluster.urls();
    let mut builder = RedisStore::builder(&urls[0]);
    for url in &urls[1..] {
        builder = builder.node(url);
    }
    if replicas > 0 {
        builder = builder.wait_for_replicas(replicas, Duration::from_millis(500));
    }
    builder.connect().await.unwrap()
}

/// While workers are at it, something happens to the cluster; afterwards all that was acknowledged
/// has to be there. Gives the cluster back, and how many asks failed.
async fn under_load(
    cluster: RedisCluster,
    replicas: u32,
    happens: impl FnOnce(&mut RedisCluster) + Send + 'static,
) -> (RedisCluster, usize) {
    let (stop, done) = (
        Arc::new(AtomicBool::new(false)),
        Arc::new(AtomicUsize::new(0)),
    );
    let mut workers = Vec::new();
    for worker in 0..8 {
        let store = connect(&cluster, replicas).await;
        workers.push(tokio::spawn(work(
            store,
            worker,
            stop.clone(),
            done.clone(),
        )));
    }
    let more = async |than: usize| {
        while done.load(Relaxed) < than {
            assert!(!workers.iter().any(|worker| worker.is_finished()));
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    more(200).await;
    let mut cluster = cluster;
    let cluster = tokio::task::spawn_blocking(move || {
        happens(&mut cluster);
        cluster
    });
    let cluster = cluster.await.unwrap();
    more(done.load(Relaxed) + 200).await;
    stop.store(true, Relaxed);
    let (mut acknowledged, mut failed) = (Vec::new(), 0);
    for worker in workers {
        let (theirs, errors) = worker.await.unwrap();
        acknowledged.extend(theirs);
        failed += errors;
    }
    let store = connect(&cluster, 0).await;
    for (key, rev) in &acknowledged {
        let Verdict::Lost(Some(slot)) = store.swap(&read(key)).await.unwrap().verdict else {
            panic!("{key} was acknowledged and is lost");
        };
        assert_eq!((slot.rev, &slot.body[..]), (*rev, key.as_bytes()));
    }
    println!(
        "{} acknowledged, 0 lost, {failed} asks failed",
        acknowledged.len()
    );
    (cluster, failed)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_slot_that_moves_is_followed_and_no_ask_fails() {
    let cluster = RedisCluster::start(3);
    let store = connect(&cluster, 0).await;
    let (there, new) = (claim("there"), claim("there"));
    store.swap(&there).await.unwrap();
    let slot = cluster.slot_of(&key_of("there"));
    let to = (cluster.owner(slot) + 1) % 3;
    // On its way: what has moved is found, and what is vacant is claimed, behind an ASK.
    let runtime = tokio::runtime::Handle::current();
    let cluster = tokio::task::spawn_blocking(move || {
        cluster.migrate_slot_while(slot, to, || {
            runtime.block_on(async {
                let lost = store.swap(&new).await.unwrap().verdict;
                let Verdict::Lost(Some(found)) = lost else {
                    panic!("it is there: {lost:?}");
                };
                assert_eq!(found.rev, rev(&there));
                let done = outcome(&there, b"done");
                assert_eq!(store.swap(&done).await.unwrap().verdict, Verdict::Won);
                let lost = store.swap(&read("there")).await.unwrap().verdict;
                assert!(matches!(lost, Verdict::Lost(Some(slot)) if slot.rev == rev(&done)));
            });
        });
        cluster
    });
    let (_, failed) = under_load(cluster.await.unwrap(), 0, |cluster| {
        for key in ["0-300", "1-300", "2-300", "3-300"] {
            let slot = cluster.slot_of(&key_of(key));
            let to = (cluster.owner(slot) + 1) % 3;
            cluster.migrate_slot(slot, to);
        }
    })
    .await;
    assert_eq!(failed, 0, "a redirection is no failure");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_primary_that_is_lost_takes_nothing_with_it_that_a_replica_confirmed() {
    let cluster = RedisCluster::start_with(3, 1, &[]);
    under_load(cluster, 1, |cluster| {
        cluster.fail_over(0);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_primary_that_stands_still_is_left_though_no_caller_waits_for_its_limit() {
    let cluster = RedisCluster::start_with(3, 1, &[]);
    let store = connect(&cluster, 0).await;
    store.swap(&read("a")).await.unwrap();
    let primary = cluster.owner(cluster.slot_of(&key_of("a")));
    cluster.nodes()[primary].pause();
    let takes_over = &cluster.nodes()[primary + 3];
    takes_over.command(&["CLUSTER", "FAILOVER", "TAKEOVER"]);
    let started = Instant::now();
    let patience = Duration::from_millis(100);
    while !matches!(timeout(patience, store.swap(&read("a"))).await, Ok(Ok(_))) {
        assert!(
            started.elapsed() < Duration::from_secs(10),
            "it is asked on"
        );
    }
    cluster.nodes()[primary].resume();
}
