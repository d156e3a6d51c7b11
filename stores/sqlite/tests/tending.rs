//! What is gone is removed, what is kept stays, also where clocks disagree, and the files stay small.

mod support;

use std::sync::mpsc::{TryRecvError, channel};
use std::time::Duration;

use idemp::testing::FakeClock;
use idemp::{Expect, Store, Verdict};
use idemp_sqlite::{SqliteOptions, SqliteStore};
use support::{Folder, KEEP, LEASE, begin, end, here, key, put, raw};

#[test]
fn deadlines_never_move_back_where_two_processes_disagree_on_the_time() {
    let folder = Folder::new();
    let open = |ahead: u64| {
        let (store, clock) = clocked(&folder);
        clock.advance(Duration::from_secs(ahead));
        store
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
    let (store, clock) = clocked(&folder);
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

fn clocked(folder: &Folder) -> (SqliteStore, FakeClock) {
    let clock = FakeClock::new();
    let options = SqliteOptions::new().clock(clock.clone());
    (options.open(folder.path("idemp.db")).unwrap(), clock)
}

fn rows(folder: &Folder) -> i64 {
    let file = raw(&folder.path("idemp.db"));
    file.query_row("SELECT count(*) FROM slots", [], |row| row.get(0))
        .unwrap()
}

#[test]
fn writes_remove_what_is_gone_bit_by_bit() {
    let folder = Folder::new();
    let (store, clock) = clocked(&folder);
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
