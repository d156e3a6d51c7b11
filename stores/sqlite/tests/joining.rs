//! Who comes while another is written joins it, and how that ends.

mod support;

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex};
use std::thread::ThreadId;
use std::time::Duration;

use idemp::{Clock, Expect, Put, Store, StoreError, Swap, Timestamp, Verdict};
use idemp_sqlite::SqliteOptions;
use support::{Folder, LEASE, begin, block_on, claim, enter, here, key, put, raw, rev_of};

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
