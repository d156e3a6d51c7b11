//! The SQLite store beside a raw log: the same bytes appended to a file, and `fdatasync` after each.

use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Barrier};
use std::time::{Duration, Instant};

use idemp::{
    AsyncStore, Body, Decision, Entropy, Expect, Fingerprint, Head, Idempotency, Key, NewSlot, Put,
    Rev, Scope, SlotKey, Store, Swap, SystemEntropy, Verdict,
};
use idemp_sqlite::{Durability, SqliteOptions, SqliteStore};

const OUTCOME: [u8; 100] = [7; 100];
/// What lies in the file before anything is measured.
const THERE: usize = 100_000;
/// Rounds in which the contenders take turns.
const ROUNDS: usize = 15;
const CALLERS: usize = 64;

fn main() {
    let folder = Folder::new();
    println!("One operation is one swap: `begin` puts a record, `finish` puts the outcome of 100");
    println!("bytes. The raw log appends the same key, head and body and syncs it, with nothing");
    println!("compared, indexed or decided. {THERE} records lie in the store already.\n");
    let store = Arc::new(filled(&folder.0.join("power.db"), Durability::Power));
    let mut names = Names(THERE);
    let alone = one_caller(&store, &folder.0, &mut names);
    many_callers(&store, &mut names, alone);
    replays(&store);
    relaxed(&folder.0, &mut names);
}

fn one_caller(store: &Arc<SqliteStore>, folder: &Path, names: &mut Names) -> f64 {
    const PAIRS: usize = 200;
    let mut log = File::create(folder.join("raw.log")).unwrap();
    let idem = Idempotency::new(store.clone());
    let payload = Fingerprint::from_parts(Fingerprint::VERSION, [1; 32]);
    let [mut raw, mut swaps, mut facade] = [const { Vec::new() }; 3];
    let commits = store.commits();
    for _ in 0..ROUNDS {
        let round = names.take(PAIRS);
        raw.push(per_operation(2 * PAIRS, || {
            for (scope, key) in &round {
                let key = SlotKey::new(scope, key);
                for (head, body) in [(&HEAD[..60], &b""[..]), (&HEAD[..], &OUTCOME[..])] {
                    let bytes = [key.as_bytes(), head, body, &[0; 32]].concat();
                    log.write_all(&bytes).unwrap();
                    log.sync_data().unwrap();
                }
            }
        }));
        swaps.push(per_operation(2 * PAIRS, || {
            for (scope, key) in &round {
                pair(store, SlotKey::new(scope, key));
            }
        }));
        let round = names.take(PAIRS);
        facade.push(per_operation(2 * PAIRS, || {
            for (scope, key) in &round {
                match idem.begin(scope, key, &payload).unwrap() {
                    Decision::Miss(mut lease) => lease.finish_bytes(&OUTCOME[..]).unwrap(),
                    other => panic!("a new key is a miss, not {other:?}"),
                }
            }
        }));
    }
    let operations = ROUNDS * 4 * PAIRS;
    let syncs = (store.commits() - commits) as f64 / operations as f64;
    let [raw, swaps, facade] = [raw, swaps, facade].map(median);
    println!("one caller, blocking");
    row("append + fdatasync", raw, raw, Some(1.0));
    row("two swaps, per swap", swaps, raw, Some(syncs));
    row("begin + finish, per verb", facade, raw, Some(syncs));
    println!();
    facade
}

fn many_callers(store: &Arc<SqliteStore>, names: &mut Names, alone: f64) {
    const PAIRS: usize = 100;
    let [mut threads, mut tasks, mut one_task] = [const { Vec::new() }; 3];
    let runtime = tokio::runtime::Builder::new_multi_thread().build().unwrap();
    let mut syncs = [0; 2];
    for _ in 0..ROUNDS {
        let round = Arc::new(names.take(PAIRS * CALLERS));
        let before = store.commits();
        threads.push(on_threads(store, &round));
        syncs[0] += store.commits() - before;

        let round = Arc::new(names.take(PAIRS * CALLERS));
        let before = store.commits();
        threads_or_tasks(&runtime, store, &round, CALLERS, &mut tasks);
        syncs[1] += store.commits() - before;

        let round = Arc::new(names.take(PAIRS));
        threads_or_tasks(&runtime, store, &round, 1, &mut one_task);
    }
    let operations = (ROUNDS * PAIRS * CALLERS * 2) as f64;
    println!(
        "{CALLERS} callers at once, wall time over all swaps; beside one caller's begin + finish"
    );
    row("one blocking caller", alone, alone, Some(1.0));
    let [threads, tasks, one_task] = [threads, tasks, one_task].map(median);
    row(
        "64 threads",
        threads,
        alone,
        Some(syncs[0] as f64 / operations),
    );
    row("64 tasks", tasks, alone, Some(syncs[1] as f64 / operations));
    row("one task", one_task, alone, None);
    println!();
}

fn on_threads(store: &Arc<SqliteStore>, names: &[Name]) -> f64 {
    let ready = Barrier::new(CALLERS + 1);
    let mut start = Instant::now();
    std::thread::scope(|threads| {
        for part in names.chunks(names.len() / CALLERS) {
            let ready = &ready;
            threads.spawn(move || {
                ready.wait();
                for (scope, key) in part {
                    pair(store, SlotKey::new(scope, key));
                }
            });
        }
        ready.wait();
        start = Instant::now();
    });
    nanoseconds(start.elapsed(), 2 * names.len())
}

fn threads_or_tasks(
    runtime: &tokio::runtime::Runtime,
    store: &Arc<SqliteStore>,
    names: &Arc<Vec<Name>>,
    callers: usize,
    samples: &mut Vec<f64>,
) {
    let start = Instant::now();
    runtime.block_on(async {
        let next = Arc::new(AtomicUsize::new(0));
        let tasks: Vec<_> = (0..callers)
            .map(|_| {
                let (store, names, next) = (store.clone(), names.clone(), next.clone());
                tokio::spawn(async move {
                    while let Some((scope, key)) = names.get(next.fetch_add(1, Ordering::Relaxed)) {
                        let [begin, finish] = both(SlotKey::new(scope, key));
                        for swap in [begin, finish] {
                            let reply = AsyncStore::swap(&*store, &swap).await.unwrap();
                            assert_eq!(reply.verdict, Verdict::Won);
                        }
                    }
                })
            })
            .collect();
        for task in tasks {
            task.await.unwrap();
        }
    });
    samples.push(nanoseconds(start.elapsed(), 2 * names.len()));
}

fn replays(store: &Arc<SqliteStore>) {
    const REPLAYS: usize = 20_000;
    let names: Vec<Name> = (0..REPLAYS).map(|n| name(n * (THERE / REPLAYS))).collect();
    let swaps: Vec<Swap> = names
        .iter()
        .map(|(scope, key)| both(SlotKey::new(scope, key)).into_iter().next().unwrap())
        .collect();
    let commits = store.commits();
    let ask = |swaps: &[Swap]| {
        for swap in swaps {
            let reply = Store::swap(&**store, swap).unwrap();
            assert!(matches!(reply.verdict, Verdict::Lost(Some(_))));
        }
    };
    let [mut one, mut two] = [const { Vec::new() }; 2];
    for _ in 0..ROUNDS {
        one.push(per_operation(REPLAYS, || ask(&swaps)));
        two.push(per_operation(REPLAYS, || {
            std::thread::scope(|threads| {
                for half in swaps.chunks(REPLAYS / 2) {
                    threads.spawn(move || ask(half));
                }
            });
        }));
    }
    let (one, two) = (median(one), median(two));
    println!("replays: a swap that loses and hands back its slot");
    row("one thread", one, one, Some(0.0));
    row("two threads", two, one, Some(0.0));
    println!("  commits meanwhile: {}\n", store.commits() - commits);
}

fn relaxed(folder: &Path, names: &mut Names) {
    const PAIRS: usize = 1000;
    let store = filled(&folder.join("process.db"), Durability::Process);
    let round = names.take(PAIRS);
    let taken = per_operation(2 * PAIRS, || {
        for (scope, key) in &round {
            pair(&store, SlotKey::new(scope, key));
        }
    });
    println!("relaxed, a power loss takes the last seconds (class Process), one caller");
    row("two swaps, per swap", taken, taken, None);
}

fn row(name: &str, taken: f64, reference: f64, syncs: Option<f64>) {
    let syncs = syncs.map_or("      -".into(), |syncs| format!("{syncs:>7.3}"));
    println!(
        "  {name:<28} {:>9.1} us {:>10.0} a second  {syncs} syncs each {:>8.2}x",
        taken / 1e3,
        1e9 / taken,
        reference / taken
    );
}

fn per_operation(operations: usize, work: impl FnOnce()) -> f64 {
    let start = Instant::now();
    work();
    nanoseconds(start.elapsed(), operations)
}

fn nanoseconds(taken: Duration, operations: usize) -> f64 {
    taken.as_secs_f64() * 1e9 / operations as f64
}

fn median(mut samples: Vec<f64>) -> f64 {
    samples.sort_by(f64::total_cmp);
    samples[samples.len() / 2]
}

/// As large as core's record of an outcome.
const HEAD: [u8; 101] = [1; 101];

fn both(slot: SlotKey) -> [Swap; 2] {
    let [begun, finished] = [(); 2].map(|()| Rev::from_bytes(SystemEntropy.bytes()));
    let put = |expect, rev, head: &[u8], body: &[u8]| Swap {
        slot: slot.clone(),
        expect,
        put: Put::Slot(NewSlot {
            rev,
            lease_for: Duration::from_secs(30),
            keep_for: Duration::from_secs(24 * 3600),
            head: Head::from_bytes(head).unwrap(),
            body: Body::from(body),
        }),
    };
    [
        put(Expect::Vacant, begun, &HEAD[..60], b""),
        put(Expect::Rev(begun), finished, &HEAD, &OUTCOME),
    ]
}

fn pair(store: &SqliteStore, slot: SlotKey) {
    for swap in both(slot) {
        assert_eq!(Store::swap(store, &swap).unwrap().verdict, Verdict::Won);
    }
}

/// A store with records in it. They are put in without syncs.
fn filled(path: &Path, durability: Durability) -> SqliteStore {
    let relaxed = SqliteOptions::new().durability(Durability::Process);
    let store = relaxed.open(path).unwrap();
    for n in 0..THERE {
        let (scope, key) = name(n);
        pair(&store, SlotKey::new(&scope, &key));
    }
    store.close();
    SqliteOptions::new()
        .durability(durability)
        .open(path)
        .unwrap()
}

type Name = (Scope, Key);

/// Keys in no order, as those of clients are.
fn name(n: usize) -> Name {
    let mixed = (n as u64 + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    (
        Scope::new([format!("user-{:04}", mixed % 1000)]).unwrap(),
        Key::new(format!("{mixed:016x}-{n:08}")).unwrap(),
    )
}

/// Names that nobody had.
struct Names(usize);

impl Names {
    fn take(&mut self, count: usize) -> Vec<Name> {
        self.0 += count;
        (self.0 - count..self.0).map(name).collect()
    }
}

/// In the folder of the build, since a temporary folder may lie in memory, where a sync is free.
struct Folder(PathBuf);

impl Folder {
    fn new() -> Self {
        let program = std::env::current_exe().unwrap();
        let folder = program.with_file_name(format!("sqlite-bench-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        Self(folder)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}
