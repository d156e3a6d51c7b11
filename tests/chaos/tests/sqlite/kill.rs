//! Processes that share a file are killed at random moments. Each is this program once more, told by
//! an environment variable what to be.

use std::io::{BufRead, BufReader, Stdout, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, AtomicU64};
use std::sync::{Arc, mpsc};
use std::thread::JoinHandle;
use std::time::Duration;

use idemp::{
    Body, Entropy, Expect, Head, Key, NewSlot, Put, Rev, Scope, SlotKey, Store, Swap,
    SystemEntropy, Verdict,
};
use idemp_chaos::{Entry, Ledger, Load, audit, client};
use idemp_sqlite::SqliteStore;

use crate::dice::Dice;
use crate::folder::{Folder, checked};
use crate::rounds;

const FILE: &str = "IDEMP_CHAOS_SQLITE_FILE";
const FROM: &str = "IDEMP_CHAOS_SQLITE_FROM";

#[test]
fn writers_killed_at_any_moment_lose_and_repeat_nothing() {
    if let Some(file) = std::env::var_os(FILE) {
        return write_until_killed(Path::new(&file));
    }
    let (folder, mut dice) = (Folder::new(), Dice::new());
    let ledger = Arc::new(Ledger::default());
    let rounds = rounds(200, 10_000);
    let start = || Writer::start(&folder.file(), &ledger);
    let mut writers = [start(), start(), start()];
    for round in 0..rounds {
        ledger.wait_for_finishes(1 + dice.below(12) as u64);
        std::thread::sleep(Duration::from_micros(dice.below(5_000) as u64));
        if round % 20 == 19 {
            // All at once: whoever opens the file next has to repair its log.
            writers
                .iter_mut()
                .for_each(|writer| writer.process.kill().unwrap());
            writers.into_iter().for_each(Writer::end);
            assert_eq!(checked(&folder), "ok", "round {round}");
            writers = [start(), start(), start()];
        } else {
            let killed = std::mem::replace(&mut writers[dice.below(3)], start());
            killed.end();
        }
    }
    writers.into_iter().for_each(Writer::end);
    assert_eq!(checked(&folder), "ok");
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    let store = Arc::new(SqliteStore::open(folder.file()).unwrap());
    runtime.block_on(audit(&load(), store, &ledger));
    let report = ledger.judge();
    println!("{rounds} times a process was killed: {report}");
    report.assert_nothing_lost();
}

#[test]
fn a_counter_in_one_slot_counts_what_four_processes_added_though_they_are_killed() {
    if let Some(file) = std::env::var_os(FILE) {
        return count_until_killed(Path::new(&file));
    }
    let (folder, mut dice) = (Folder::new(), Dice::new());
    let mut killed = 0;
    let (told, added) = mpsc::channel();
    let start = || {
        let name =
            "kill::a_counter_in_one_slot_counts_what_four_processes_added_though_they_are_killed";
        let mut process = process(name, &folder.file(), 0);
        let (told, lines) = (
            told.clone(),
            BufReader::new(process.stdout.take().unwrap()).lines(),
        );
        let reading = std::thread::spawn(move || {
            lines
                .map_while(Result::ok)
                .filter(|line| line == ADDED)
                .for_each(|_| told.send(()).unwrap());
        });
        (process, reading)
    };
    let mut counting: Vec<_> = (0..4).map(|_| start()).collect();
    let mut acknowledged = 0;
    for _ in 0..rounds(20, 500) {
        for _ in 0..1 + dice.below(60) {
            added
                .recv_timeout(Duration::from_secs(60))
                .expect("somebody still counts");
            acknowledged += 1;
        }
        let (mut process, reading) = counting.swap_remove(dice.below(4));
        process.kill().unwrap();
        process.wait().unwrap();
        reading.join().unwrap();
        killed += 1;
        counting.push(start());
    }
    for (mut process, reading) in counting {
        process.kill().unwrap();
        process.wait().unwrap();
        reading.join().unwrap();
        killed += 1;
    }
    acknowledged += added.try_iter().count() as u64;
    let store = SqliteStore::open(folder.file()).unwrap();
    let (_, count) = counter(&store);
    println!(
        "{acknowledged} additions were acknowledged, {count} are there, {killed} processes killed"
    );
    // One may have been on its way in each process that was killed.
    assert!((acknowledged..=acknowledged + killed).contains(&count));
}

fn load() -> Load {
    Load {
        clients: 4,
        // In each process: so every key is visited by all of them.
        visitors: 1,
        lease: Duration::from_millis(500),
        ..Load::default()
    }
}

/// A process that writes, and the thread that reads what it tells.
struct Writer {
    process: Child,
    reading: JoinHandle<()>,
}

impl Writer {
    fn start(file: &Path, ledger: &Arc<Ledger>) -> Self {
        let name = "kill::writers_killed_at_any_moment_lose_and_repeat_nothing";
        // Where the others are by now, so that they meet.
        let from = ledger.keys().len().saturating_sub(4);
        let mut process = process(name, file, from);
        let (ledger, told) = (
            ledger.clone(),
            BufReader::new(process.stdout.take().unwrap()),
        );
        let reading = std::thread::spawn(move || {
            let entries = told.lines().map_while(Result::ok);
            entries
                .filter_map(|line| Entry::from_line(&line))
                .for_each(|entry| ledger.note(entry));
        });
        Self { process, reading }
    }

    /// Kills it, and hears what it had told.
    fn end(mut self) {
        self.process.kill().unwrap();
        self.process.wait().unwrap();
        self.reading.join().unwrap();
    }
}

fn process(test: &str, file: &Path, from: usize) -> Child {
    Command::new(std::env::current_exe().unwrap())
        .args(["--exact", test, "--nocapture", "--test-threads=1"])
        .env(FILE, file)
        .env(FROM, from.to_string())
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap()
}

/// Where this process tells what it did. The test's own output has begun a line there; and a pipe
/// that nobody reads any more ends the process, since its parent is gone.
fn told_to_the_parent() -> Stdout {
    std::panic::set_hook(Box::new(|_| std::process::exit(1)));
    let mut told = std::io::stdout();
    told.write_all(b"\n").unwrap();
    told
}

fn write_until_killed(file: &Path) {
    let told = told_to_the_parent();
    let from = std::env::var(FROM).unwrap().parse().unwrap();
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .unwrap();
    let store = Arc::new(SqliteStore::open(PathBuf::from(file)).unwrap());
    let ledger = Arc::new(Ledger::telling(told));
    let jobs = Arc::new(AtomicU64::new(from));
    let load = load();
    let clients: Vec<_> = (0..load.clients)
        .map(|_| {
            let (load, store) = (load.clone(), store.clone());
            let (ledger, jobs) = (ledger.clone(), jobs.clone());
            runtime.spawn(async move {
                client(&load, store, &ledger, &jobs, &AtomicBool::new(false)).await;
            })
        })
        .collect();
    for client in clients {
        runtime.block_on(client).unwrap();
    }
}

const ADDED: &str = "added";

fn count_until_killed(file: &Path) {
    let mut told = told_to_the_parent();
    let store = SqliteStore::open(file).unwrap();
    loop {
        let (expect, count) = counter(&store);
        let swap = Swap {
            slot: the_slot(),
            expect,
            put: Put::Slot(NewSlot {
                rev: Rev::from_bytes(SystemEntropy.bytes()),
                lease_for: Duration::from_secs(1),
                keep_for: Duration::from_secs(3600),
                head: Head::default(),
                body: Body::from(&(count + 1).to_le_bytes()[..]),
            }),
        };
        if Store::swap(&store, &swap).unwrap().verdict == Verdict::Won {
            told.write_all(format!("{ADDED}\n").as_bytes()).unwrap();
            told.flush().unwrap();
        }
    }
}

/// What lies there, as the next swap expects it, and the number.
fn counter(store: &SqliteStore) -> (Expect, u64) {
    match Store::swap(store, &Swap::read(the_slot())).unwrap().verdict {
        Verdict::Lost(None) => (Expect::Vacant, 0),
        Verdict::Lost(Some(slot)) => {
            let count = u64::from_le_bytes(slot.body[..].try_into().unwrap());
            (Expect::Rev(slot.rev), count)
        }
        Verdict::Won => panic!("a read never wins"),
    }
}

fn the_slot() -> SlotKey {
    SlotKey::new(
        &Scope::new(["chaos"]).unwrap(),
        &Key::new("counter").unwrap(),
    )
}
