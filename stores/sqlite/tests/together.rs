//! Writes that meet: who leads, who waits, what is committed together, and how it ends. Who joins one
//! that is being written: `joining.rs`.

mod support;

use std::future::Future;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Barrier, Mutex};
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use idemp::{AsyncStore, Clock, Store, StoreError, Swap, Timestamp, Verdict};
use idemp_sqlite::{QueueFull, SqliteOptions, SqliteStore};
use support::{Folder, begin, block_on, claim, enter, here, key, raw, rev_of};

#[test]
fn swaps_that_meet_are_committed_together_and_each_gets_its_own_answer() {
    let folder = Folder::new();
    let store = SqliteStore::open(folder.path("idemp.db")).unwrap();
    begin(&store, &key("there"));
    let before = store.commits();
    let lock = raw(&folder.path("idemp.db"));
    lock.execute_batch("BEGIN IMMEDIATE").unwrap();
    // Twice each: the second of a key loses to the first, in the same transaction.
    let swaps: Vec<Swap> = (0..100)
        .map(|n| claim(&key(&(n / 2).to_string())))
        .collect();
    let waiting: Vec<_> = swaps.iter().map(|swap| enter(&store, swap)).collect();
    lock.execute_batch("ROLLBACK").unwrap();
    for (n, (entered, swap)) in waiting.into_iter().zip(&swaps).enumerate() {
        match (n % 2, block_on(entered).unwrap().verdict) {
            (0, verdict) => assert_eq!(verdict, Verdict::Won),
            (_, Verdict::Lost(Some(slot))) => assert_ne!(slot.rev, rev_of(swap)),
            (_, other) => panic!("{other:?}"),
        }
    }
    let commits = store.commits() - before;
    assert!(
        commits <= 2,
        "the first that came, and all others: {commits}"
    );
}

#[test]
fn many_callers_share_their_commits_and_each_key_is_won_once() {
    let folder = Folder::new();
    let store = SqliteStore::open(folder.path("idemp.db")).unwrap();
    let (keys, callers) = (100, 32);
    let ready = Barrier::new(callers);
    let won: usize = std::thread::scope(|threads| {
        let running: Vec<_> = (0..callers)
            .map(|_| {
                threads.spawn(|| {
                    ready.wait();
                    let slots = (0..keys).map(|n| key(&n.to_string()));
                    slots
                        .filter(|slot| {
                            Store::swap(&store, &claim(slot)).unwrap().verdict == Verdict::Won
                        })
                        .count()
                })
            })
            .collect();
        running
            .into_iter()
            .map(|thread| thread.join().unwrap())
            .sum()
    });
    assert_eq!(won, keys);
    assert!(store.commits() < 2 * keys as u64 + 10);
}

#[test]
fn a_caller_alone_commits_on_its_own_thread_and_an_async_one_never_does() {
    struct Watched(Mutex<Vec<std::thread::ThreadId>>);
    impl Clock for Watched {
        fn now(&self) -> Timestamp {
            self.0.lock().unwrap().push(std::thread::current().id());
            Timestamp::from_millis(1_000_000)
        }
    }
    let folder = Folder::new();
    let watched = Arc::new(Watched(Mutex::default()));
    let options = SqliteOptions::new().clock(watched.clone());
    let store = options.open(folder.path("idemp.db")).unwrap();
    let here = std::thread::current().id();

    begin(&store, &key("blocking"));
    assert!(
        std::mem::take(&mut *watched.0.lock().unwrap())
            .iter()
            .all(|id| *id == here)
    );

    block_on(AsyncStore::swap(&store, &claim(&key("async")))).unwrap();
    let seen = std::mem::take(&mut *watched.0.lock().unwrap());
    assert!(
        seen.len() == 2 && seen[0] == here && seen[1] != here,
        "asked here, written there"
    );

    block_on(AsyncStore::swap(&store, &claim(&key("async")))).unwrap();
    assert_eq!(
        watched.0.lock().unwrap().as_slice(),
        [here],
        "what loses is not queued"
    );
}

#[test]
fn a_full_queue_is_a_loud_error_and_what_is_in_it_is_done() {
    let folder = Folder::new();
    let store = SqliteOptions::new()
        .queue(3)
        .open(folder.path("idemp.db"))
        .unwrap();
    let lock = raw(&folder.path("idemp.db"));
    lock.execute_batch("BEGIN IMMEDIATE").unwrap();
    let first = claim(&key("first"));
    let swaps: Vec<Swap> = (0..10).map(|n| claim(&key(&n.to_string()))).collect();
    let mut waiting = vec![enter(&store, &first)];
    // The writer takes what it finds at some moment, one to three of them, and three more find a place.
    let mut refused = 0;
    for swap in &swaps {
        let mut entering = Box::pin(AsyncStore::swap(&store, swap));
        match entering
            .as_mut()
            .poll(&mut Context::from_waker(Waker::noop()))
        {
            Poll::Pending => waiting.push(entering),
            Poll::Ready(answer) => {
                let error = answer.unwrap_err();
                let StoreError::Unavailable(Some(cause)) = &error else {
                    panic!("{error:?}")
                };
                assert!(cause.is::<QueueFull>() && error.is_retryable());
                refused += 1;
            }
        }
    }
    assert!((5..=8).contains(&refused), "{refused}");
    assert!(here(&store, &key("none")).is_none(), "reads do not queue");
    lock.execute_batch("ROLLBACK").unwrap();
    for entered in waiting {
        assert_eq!(block_on(entered).unwrap().verdict, Verdict::Won);
    }
}

#[test]
fn a_group_that_cannot_begin_times_out_as_a_whole_and_so_do_those_behind_it() {
    let folder = Folder::new();
    let bound = Duration::from_millis(100);
    let store = SqliteOptions::new()
        .busy_timeout(bound)
        .open(folder.path("idemp.db"))
        .unwrap();
    let lock = raw(&folder.path("idemp.db"));
    lock.execute_batch("BEGIN IMMEDIATE").unwrap();
    let started = Instant::now();
    let swaps: Vec<Swap> = (0..600).map(|n| claim(&key(&n.to_string()))).collect();
    let waiting: Vec<_> = swaps.iter().map(|swap| enter(&store, swap)).collect();
    for entered in waiting {
        assert!(matches!(block_on(entered), Err(StoreError::Timeout)));
    }
    assert!(started.elapsed() < bound * 20);
    lock.execute_batch("ROLLBACK").unwrap();
    begin(&store, &key("0"));
}

#[test]
fn a_future_that_is_dropped_leaves_its_swap_to_be_carried_out_or_not() {
    let folder = Folder::new();
    let store = SqliteStore::open(folder.path("idemp.db")).unwrap();
    let lock = raw(&folder.path("idemp.db"));
    lock.execute_batch("BEGIN IMMEDIATE").unwrap();
    let swap = claim(&key("dropped"));
    drop(enter(&store, &swap));
    lock.execute_batch("ROLLBACK").unwrap();
    store.close();
    let store = SqliteStore::open(folder.path("idemp.db")).unwrap();
    assert_eq!(
        here(&store, &key("dropped")).map(|slot| slot.rev),
        Some(rev_of(&swap))
    );
}

#[test]
fn close_waits_for_those_in_the_queue_and_may_be_called_twice() {
    let folder = Folder::new();
    let store = SqliteStore::open(folder.path("idemp.db")).unwrap();
    let lock = raw(&folder.path("idemp.db"));
    lock.execute_batch("BEGIN IMMEDIATE").unwrap();
    let swaps: Vec<Swap> = (0..50).map(|n| claim(&key(&n.to_string()))).collect();
    let waiting: Vec<_> = swaps.iter().map(|swap| enter(&store, swap)).collect();
    std::thread::scope(|threads| {
        let closing = threads.spawn(|| store.close());
        // Once it refuses, it is closing.
        while !matches!(
            Store::swap(&store, &Swap::read(key("0"))),
            Err(StoreError::Closed)
        ) {
            std::thread::yield_now();
        }
        lock.execute_batch("ROLLBACK").unwrap();
        closing.join().unwrap();
    });
    for entered in waiting {
        assert_eq!(block_on(entered).unwrap().verdict, Verdict::Won);
    }
    store.close();
    for swap in [Swap::read(key("0")), claim(&key("new"))] {
        assert!(matches!(
            Store::swap(&store, &swap),
            Err(StoreError::Closed)
        ));
        assert!(matches!(
            block_on(AsyncStore::swap(&store, &swap)),
            Err(StoreError::Closed)
        ));
    }
    assert!(matches!(store.purge(1), Err(StoreError::Closed)));
}

#[cfg(target_os = "linux")]
#[test]
fn a_store_that_is_dropped_leaves_no_thread_and_no_open_file() {
    if std::env::var_os("IDEMP_SQLITE_ALONE").is_none() {
        // In a process of its own, where no other test has threads and files.
        let alone = std::process::Command::new(std::env::current_exe().unwrap())
            .args([
                "--exact",
                "a_store_that_is_dropped_leaves_no_thread_and_no_open_file",
            ])
            .env("IDEMP_SQLITE_ALONE", "1")
            .output()
            .unwrap();
        let text = String::from_utf8_lossy(&alone.stdout);
        return assert!(
            alone.status.success() && text.contains("1 passed"),
            "{text}"
        );
    }
    let count = |what: &str| {
        std::fs::read_dir(format!("/proc/self/{what}"))
            .unwrap()
            .count()
    };
    let folder = Folder::new();
    let before = (count("task"), count("fd"));
    for n in 0..10 {
        let store = SqliteStore::open(folder.path("idemp.db")).unwrap();
        assert!(count("task") > before.0 && count("fd") > before.1);
        begin(&store, &key(&n.to_string()));
    }
    assert_eq!((count("task"), count("fd")), before);
    assert!(
        !folder.path("idemp.db-wal").exists(),
        "the log is in the file"
    );
}

#[test]
fn a_clock_that_panics_fails_its_own_group_and_the_store_goes_on() {
    struct Brittle(AtomicBool);
    impl Clock for Brittle {
        fn now(&self) -> Timestamp {
            let thread = std::thread::current();
            let writing = thread.name() == Some("idemp-writer");
            assert!(
                !(writing && self.0.load(Ordering::SeqCst)),
                "the clock broke"
            );
            Timestamp::from_millis(1_000_000)
        }
    }
    let folder = Folder::new();
    let clock = Arc::new(Brittle(AtomicBool::new(true)));
    let store = SqliteOptions::new()
        .clock(clock.clone())
        .open(folder.path("idemp.db"))
        .unwrap();
    let swap = claim(&key("a"));
    assert!(block_on(AsyncStore::swap(&store, &swap)).is_err());
    clock.0.store(false, Ordering::SeqCst);
    assert!(here(&store, &key("a")).is_none());
    assert_eq!(
        block_on(AsyncStore::swap(&store, &swap)).unwrap().verdict,
        Verdict::Won
    );
    begin(&store, &key("b"));
}
