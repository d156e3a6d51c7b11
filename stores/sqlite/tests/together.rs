//! Writes that meet: who leads, who waits, what is committed together, and how it ends.

mod support;

use std::future::Future;
use std::pin::pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, Sender, TryRecvError, channel};
use std::sync::{Arc, Barrier, Mutex};
use std::task::{Context, Poll, Wake, Waker};
use std::thread::{Thread, ThreadId};
use std::time::{Duration, Instant};

use idemp::testing::FakeClock;
use idemp::{AsyncStore, Clock, Expect, Put, Store, StoreError, Swap, Swapped, Timestamp, Verdict};
use idemp_sqlite::{QueueFull, SqliteOptions, SqliteStore};
use support::{Folder, KEEP, LEASE, begin, claim, end, here, key, put, raw};

/// Any executor will do: this one is a thread that parks.
fn block_on<T>(future: impl Future<Output = T>) -> T {
    struct Unpark(Thread);
    impl Wake for Unpark {
        fn wake(self: Arc<Self>) {
            self.0.unpark();
        }
    }
    let waker = Waker::from(Arc::new(Unpark(std::thread::current())));
    let mut future = pin!(future);
    loop {
        if let Poll::Ready(done) = future.as_mut().poll(&mut Context::from_waker(&waker)) {
            return done;
        }
        std::thread::park();
    }
}

/// Puts it into the queue, and no more.
fn enter<'a>(
    store: &'a SqliteStore,
    swap: &'a Swap,
) -> std::pin::Pin<Box<dyn Future<Output = Result<Swapped, StoreError>> + 'a>> {
    let mut entered = Box::pin(AsyncStore::swap(store, swap));
    let polled = entered
        .as_mut()
        .poll(&mut Context::from_waker(Waker::noop()));
    assert!(polled.is_pending());
    entered
}

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

/// Stops the next one that writes in its transaction, until it is told to go on.
struct Gate {
    test: ThreadId,
    armed: AtomicBool,
    breaks: AtomicBool,
    inside: Sender<()>,
    go_on: Mutex<Receiver<()>>,
}

impl Gate {
    fn new() -> (Arc<Self>, Receiver<()>, Sender<()>) {
        let ((inside, is_inside), (go, go_on)) = (channel(), channel());
        let gate = Self {
            test: std::thread::current().id(),
            armed: AtomicBool::new(false),
            breaks: AtomicBool::new(false),
            inside,
            go_on: Mutex::new(go_on),
        };
        (Arc::new(gate), is_inside, go)
    }
}

impl Clock for Gate {
    fn now(&self) -> Timestamp {
        if std::thread::current().id() != self.test {
            if self.armed.swap(false, Ordering::SeqCst) {
                self.inside.send(()).unwrap();
                self.go_on.lock().unwrap().recv().unwrap();
            } else {
                assert!(!self.breaks.load(Ordering::SeqCst), "the clock broke");
            }
        }
        Timestamp::from_millis(1_000_000)
    }
}

#[test]
fn who_comes_while_another_is_written_is_committed_with_it() {
    for blocking in [true, false] {
        let folder = Folder::new();
        let (gate, is_inside, go) = Gate::new();
        let options = SqliteOptions::new().clock(gate.clone());
        let store = options.open(folder.path("idemp.db")).unwrap();
        let before = store.commits();
        gate.armed.store(true, Ordering::SeqCst);
        let first = claim(&key("first"));
        let others: Vec<Swap> = (0..20).map(|n| claim(&key(&n.to_string()))).collect();
        std::thread::scope(|threads| {
            let leads = blocking.then(|| threads.spawn(|| Store::swap(&store, &first)));
            let led = (!blocking).then(|| enter(&store, &first));
            is_inside.recv().unwrap();
            let waiting: Vec<_> = others.iter().map(|swap| enter(&store, swap)).collect();
            go.send(()).unwrap();
            for one in led.into_iter().chain(waiting) {
                assert_eq!(block_on(one).unwrap().verdict, Verdict::Won);
            }
            if let Some(leading) = leads {
                assert_eq!(leading.join().unwrap().unwrap().verdict, Verdict::Won);
            }
        });
        assert_eq!(store.commits() - before, 1, "blocking: {blocking}");
        assert!(others.iter().all(|swap| here(&store, &swap.slot).is_some()));
    }
}

#[test]
fn one_that_joins_and_fails_does_not_fail_the_others() {
    let folder = Folder::new();
    let (gate, is_inside, go) = Gate::new();
    let options = SqliteOptions::new().clock(gate.clone()).max_bytes(1 << 18);
    // It is filled, which is not to wait for the disk each time.
    let options = options.durability(idemp_sqlite::Durability::Process);
    let store = options.open(folder.path("idemp.db")).unwrap();
    let (own, sick) = (key("own"), key("sick"));
    begin(&store, &own);
    begin(&store, &sick);
    let (there, was) = (here(&store, &own).unwrap(), here(&store, &sick).unwrap());
    let damage = "UPDATE slots SET rev = x'00' WHERE hex(key) LIKE '%' || hex('sick')";
    raw(&folder.path("idemp.db")).execute_batch(damage).unwrap();
    let full = (0..).find(|n| Store::swap(&store, &claim(&key(&format!("n{n}")))).is_err());
    let too_many = claim(&key(&format!("n{}", full.unwrap())));

    gate.armed.store(true, Ordering::SeqCst);
    let ending = put(&own, Expect::Rev(there.rev), Duration::ZERO, b"outcome");
    let damaged = put(&sick, Expect::Rev(was.rev), Duration::ZERO, b"outcome");
    std::thread::scope(|threads| {
        let leading = threads.spawn(|| Store::swap(&store, &ending));
        is_inside.recv().unwrap();
        let damaged = enter(&store, &damaged);
        let too_many = enter(&store, &too_many);
        go.send(()).unwrap();
        let damaged = block_on(damaged).unwrap_err();
        assert!(matches!(damaged, StoreError::Corrupt(_)), "{damaged:?}");
        let too_many = block_on(too_many).unwrap_err();
        assert!(matches!(too_many, StoreError::Full), "{too_many:?}");
        assert_eq!(leading.join().unwrap().unwrap().verdict, Verdict::Won);
    });
    assert_eq!(&here(&store, &own).unwrap().body[..], b"outcome");
    assert!(here(&store, &too_many.slot).is_none());
}

#[test]
fn who_joined_one_that_panics_is_told_that_it_is_unknown_and_nothing_was_written() {
    let folder = Folder::new();
    let (gate, is_inside, go) = Gate::new();
    let options = SqliteOptions::new().clock(gate.clone());
    let store = options.open(folder.path("idemp.db")).unwrap();
    gate.armed.store(true, Ordering::SeqCst);
    let (own, joining) = (claim(&key("own")), claim(&key("joining")));
    std::thread::scope(|threads| {
        let leading = threads.spawn(|| Store::swap(&store, &own));
        is_inside.recv().unwrap();
        let joined = enter(&store, &joining);
        gate.breaks.store(true, Ordering::SeqCst);
        go.send(()).unwrap();
        assert!(block_on(joined).is_err());
        assert!(leading.join().is_err(), "its own clock broke");
    });
    gate.breaks.store(false, Ordering::SeqCst);
    for swap in [own, joining] {
        assert!(here(&store, &swap.slot).is_none());
        begin(&store, &swap.slot);
    }
}

#[test]
fn nobody_joins_what_has_not_written_since_its_view_may_be_old() {
    let folder = Folder::new();
    let (gate, is_inside, go) = Gate::new();
    let open = || {
        let options = SqliteOptions::new().clock(gate.clone());
        let options = options.busy_timeout(Duration::from_millis(100));
        options.open(folder.path("idemp.db")).unwrap()
    };
    let (store, other) = (open(), open());
    let there = key("there");
    begin(&store, &there);
    let nothing = |name: &str| Swap {
        slot: key(name),
        expect: Expect::Vacant,
        put: Put::Remove,
    };
    let (own, second) = (nothing("own"), nothing("second"));
    gate.armed.store(true, Ordering::SeqCst);
    std::thread::scope(|threads| {
        let leading = threads.spawn(|| Store::swap(&store, &own));
        is_inside.recv().unwrap();
        let second = enter(&store, &second);
        gate.armed.store(true, Ordering::SeqCst);
        go.send(()).unwrap();
        is_inside.recv().unwrap();
        // Either no other process can write now, or what it wrote is what the next one finds.
        let was = here(&store, &there).unwrap().rev;
        let published = put(&there, Expect::Rev(was), LEASE, b"published");
        let ending = put(
            &there,
            Expect::Rev(rev_of(&published)),
            Duration::ZERO,
            b"outcome",
        );
        let written =
            Store::swap(&other, &published).is_ok_and(|swapped| swapped.verdict == Verdict::Won);
        let ending = written.then(|| enter(&store, &ending));
        go.send(()).unwrap();
        if let Some(ending) = ending {
            assert_eq!(block_on(ending).unwrap().verdict, Verdict::Won);
        }
        assert_eq!(block_on(second).unwrap().verdict, Verdict::Won);
        assert_eq!(leading.join().unwrap().unwrap().verdict, Verdict::Won);
    });
}

fn rev_of(swap: &Swap) -> idemp::Rev {
    match &swap.put {
        idemp::Put::Slot(new) => new.rev,
        idemp::Put::Remove => idemp::Rev::NIL,
    }
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

#[test]
fn deadlines_never_move_back_where_two_processes_disagree_on_the_time() {
    let folder = Folder::new();
    let open = |ahead: u64| {
        let clock = FakeClock::new();
        clock.advance(Duration::from_secs(ahead));
        SqliteOptions::new()
            .clock(clock)
            .open(folder.path("idemp.db"))
            .unwrap()
    };
    let (ahead, behind) = (open(60), open(0));
    let slot = key("a");
    begin(&ahead, &slot);
    let first = here(&behind, &slot).unwrap();
    let again = put(&slot, Expect::Rev(first.rev), LEASE, b"");
    assert_eq!(Store::swap(&behind, &again).unwrap().verdict, Verdict::Won);
    let second = here(&ahead, &slot).unwrap();
    assert_eq!(
        (second.lease_until, second.gone_at),
        (first.lease_until, first.gone_at)
    );
}

#[test]
fn purge_removes_what_is_gone_counts_it_and_leaves_what_was_prolonged_or_claimed_anew() {
    let folder = Folder::new();
    let clock = FakeClock::new();
    let store = SqliteOptions::new()
        .clock(clock.clone())
        .open(folder.path("idemp.db"))
        .unwrap();
    assert_eq!(store.purge(10).unwrap(), 0);
    for n in 0..600 {
        begin(&store, &key(&n.to_string()));
    }
    clock.advance(KEEP / 2);
    let prolonged = key("0");
    end(
        &store,
        &prolonged,
        &here(&store, &prolonged).unwrap(),
        b"outcome",
    );
    assert_eq!(
        store.purge(u64::MAX).unwrap(),
        0,
        "nothing is gone before its time"
    );
    clock.advance(KEEP / 2 - Duration::from_millis(1));
    assert_eq!(store.purge(u64::MAX).unwrap(), 0);
    clock.advance(Duration::from_millis(1));
    let anew = key("1");
    begin(&store, &anew);
    assert_eq!(store.purge(100).unwrap(), 100);
    assert_eq!(store.purge(u64::MAX).unwrap(), 498);
    assert_eq!(&here(&store, &prolonged).unwrap().body[..], b"outcome");
    assert!(here(&store, &anew).is_some());
    clock.advance(KEEP);
    assert_eq!(
        store.purge(u64::MAX).unwrap(),
        2,
        "both are looked at again in time"
    );
    assert_eq!(rows(&folder), 0);
}

fn rows(folder: &Folder) -> i64 {
    let file = raw(&folder.path("idemp.db"));
    file.query_row("SELECT count(*) FROM slots", [], |row| row.get(0))
        .unwrap()
}

#[test]
fn writes_remove_what_is_gone_bit_by_bit() {
    let folder = Folder::new();
    let clock = FakeClock::new();
    let store = SqliteOptions::new()
        .clock(clock.clone())
        .open(folder.path("idemp.db"))
        .unwrap();
    for n in 0..1000 {
        begin(&store, &key(&format!("old{n}")));
    }
    clock.advance(KEEP);
    for n in 0..500 {
        begin(&store, &key(&format!("new{n}")));
    }
    store.close();
    assert!((500..900).contains(&rows(&folder)), "{}", rows(&folder));
}

#[test]
fn the_log_stays_bounded_under_writes_and_reads() {
    let folder = Folder::new();
    let options = SqliteOptions::new().durability(idemp_sqlite::Durability::Process);
    let store = options.open(folder.path("idemp.db")).unwrap();
    let (done, stop) = channel::<()>();
    let longest = std::thread::scope(|threads| {
        let log = folder.path("idemp.db-wal");
        let watching = threads.spawn(move || {
            let mut longest = 0;
            while stop.try_recv() == Err(TryRecvError::Empty) {
                longest = longest.max(std::fs::metadata(&log).map_or(0, |log| log.len()));
                std::thread::yield_now();
            }
            longest
        });
        let writing = [0, 1].map(|writer| {
            let store = &store;
            threads.spawn(move || {
                for n in 0..6000 {
                    let slot = key(&format!("{writer}-{n}"));
                    begin(store, &slot);
                    end(store, &slot, &here(store, &slot).unwrap(), &[7; 3000]);
                }
            })
        });
        for writer in writing {
            writer.join().unwrap();
        }
        drop(done);
        watching.join().unwrap()
    });
    // 140 MB are written; writers wait from 64 MiB on.
    assert!(longest > 0 && longest < 90 << 20, "{longest}");
}
