//! What lies at the path: a new file, an older one, a newer one, somebody else's, a damaged, locked,
//! full or read-only one. Each is opened or is a typed error; none is ever vacant.

mod support;

use std::io::{Seek, SeekFrom, Write};
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use idemp::{Expect, Put, Store, StoreError, Swap, Verdict};
use idemp_sqlite::{Durability, FileError, SqliteOptions, SqliteStore};
use rusqlite::Connection;
use support::{Folder, begin, end, here, key, raw};

/// Runs SQL on the file as somebody else would.
fn meddle(path: &Path, sql: &str) {
    raw(path).execute_batch(sql).unwrap();
}

fn cause(error: &StoreError) -> String {
    std::error::Error::source(error).map_or(String::new(), ToString::to_string)
}

fn overwrite(path: &Path, at: u64, bytes: &[u8]) {
    let mut file = std::fs::OpenOptions::new().write(true).open(path).unwrap();
    file.seek(SeekFrom::Start(at)).unwrap();
    file.write_all(bytes).unwrap();
}

/// A closed file with so many records.
fn filled(path: &Path, records: usize) {
    let store = quick().open(path).unwrap();
    for n in 0..records {
        begin(&store, &key(&n.to_string()));
    }
}

/// Without syncs: these tests are not about the power.
fn quick() -> SqliteOptions {
    SqliteOptions::new().durability(Durability::Process)
}

#[test]
fn what_was_put_is_there_after_the_file_is_opened_again_and_again() {
    let folder = Folder::new();
    let path = folder.path("idemp.db");
    filled(&path, 3);
    for _ in 0..3 {
        let store = SqliteStore::open(&path).unwrap();
        assert!((0..3).all(|n| here(&store, &key(&n.to_string())).is_some()));
        assert!(here(&store, &key("3")).is_none());
    }
}

#[test]
fn the_file_carries_our_mark_and_the_version_of_its_schema_and_is_set_to_last() {
    let folder = Folder::new();
    let path = folder.path("idemp.db");
    filled(&path, 1);
    let file = raw(&path);
    let number = |name| {
        file.pragma_query_value(None, name, |row| row.get::<_, i64>(0))
            .unwrap()
    };
    assert_eq!(
        (number("application_id"), number("user_version")),
        (0x6964_656d, 1)
    );
    let mode: String = file
        .pragma_query_value(None, "journal_mode", |row| row.get(0))
        .unwrap();
    assert_eq!(mode, "wal");
}

#[test]
fn a_file_of_a_newer_version_is_refused_and_left_as_it_is() {
    let folder = Folder::new();
    let path = folder.path("idemp.db");
    filled(&path, 1);
    meddle(&path, "PRAGMA user_version = 2");
    let error = SqliteStore::open(&path).unwrap_err();
    assert!(matches!(error, StoreError::Unusable(_)) && !error.is_retryable());
    assert_eq!(
        cause(&error),
        FileError::Newer { found: 2, known: 1 }.to_string()
    );
    meddle(&path, "PRAGMA user_version = 1");
    assert!(here(&SqliteStore::open(&path).unwrap(), &key("0")).is_some());
}

#[test]
fn a_database_of_somebody_else_is_refused_and_not_changed() {
    let folder = Folder::new();
    let path = folder.path("other.db");
    meddle(
        &path,
        "CREATE TABLE slots (key); INSERT INTO slots VALUES (1)",
    );
    let before = std::fs::read(&path).unwrap();
    let error = SqliteStore::open(&path).unwrap_err();
    assert!(matches!(error, StoreError::Corrupt(_)), "{error:?}");
    assert_eq!(cause(&error), FileError::Foreign.to_string());
    assert_eq!(std::fs::read(&path).unwrap(), before);
}

#[test]
fn a_file_that_is_no_database_is_corrupt() {
    let folder = Folder::new();
    let path = folder.path("notes.txt");
    std::fs::write(&path, "these are notes, and not few of them. ".repeat(500)).unwrap();
    let error = SqliteStore::open(&path).unwrap_err();
    assert!(matches!(error, StoreError::Corrupt(_)), "{error:?}");
}

#[test]
fn a_file_that_was_cut_is_never_vacant() {
    let folder = Folder::new();
    let path = folder.path("idemp.db");
    filled(&path, 200);
    let whole = std::fs::metadata(&path).unwrap().len();
    for left in [whole - 1, whole - 4096, whole / 2, 4096, 100] {
        std::fs::remove_file(&path).unwrap();
        filled(&path, 200);
        std::fs::OpenOptions::new()
            .write(true)
            .open(&path)
            .unwrap()
            .set_len(left)
            .unwrap();
        match SqliteStore::open(&path) {
            Err(error) => assert!(matches!(error, StoreError::Corrupt(_)), "{left}: {error:?}"),
            // SQLite counts whole pages: where only the last was cut it finds out when it reads.
            Ok(store) => {
                for n in 0..200 {
                    match Store::swap(&store, &Swap::read(key(&n.to_string()))) {
                        Err(error) => assert!(matches!(error, StoreError::Corrupt(_)), "{error:?}"),
                        Ok(reply) => assert_ne!(reply.verdict, Verdict::Lost(None), "{left}: {n}"),
                    }
                }
            }
        }
    }
}

#[test]
fn an_empty_file_beside_a_log_was_cut_off_and_is_not_taken_for_a_new_one() {
    let folder = Folder::new();
    let path = folder.path("idemp.db");
    let store = SqliteStore::open(&path).unwrap();
    begin(&store, &key("a"));
    let copy = folder.path("copy.db");
    std::fs::copy(folder.path("idemp.db-wal"), folder.path("copy.db-wal")).unwrap();
    std::fs::write(&copy, b"").unwrap();
    let error = SqliteStore::open(&copy).unwrap_err();
    assert!(matches!(error, StoreError::Corrupt(_)), "{error:?}");
    assert!(std::fs::metadata(folder.path("copy.db-wal")).unwrap().len() > 0);
}

#[test]
fn pages_that_were_overwritten_are_errors_and_never_vacant() {
    let folder = Folder::new();
    let path = folder.path("idemp.db");
    filled(&path, 500);
    let pages = std::fs::metadata(&path).unwrap().len() / 4096;
    for page in 1..pages {
        overwrite(&path, page * 4096, &[0xa5; 4096]);
    }
    match SqliteStore::open(&path) {
        Err(error) => assert!(matches!(error, StoreError::Corrupt(_)), "{error:?}"),
        Ok(store) => {
            for n in 0..500 {
                let slot = key(&n.to_string());
                for swap in [Swap::read(slot.clone()), support::claim(&slot)] {
                    let error = Store::swap(&store, &swap).unwrap_err();
                    assert!(matches!(error, StoreError::Corrupt(_)), "{error:?}");
                }
            }
        }
    }
}

#[test]
fn a_damaged_record_is_corrupt_for_its_key_alone() {
    let damages = [
        "rev = x'00'",
        "head = zeroblob(112)",
        "lease_until = -1",
        "gone_at = -1",
        "rev = x''",
    ];
    for damage in damages {
        let folder = Folder::new();
        let path = folder.path("idemp.db");
        let store = SqliteStore::open(&path).unwrap();
        let (sick, sound) = (key("sick"), key("sound"));
        begin(&store, &sick);
        begin(&store, &sound);
        meddle(
            &path,
            &format!("UPDATE slots SET {damage} WHERE hex(key) LIKE '%' || hex('sick')"),
        );
        for swap in [Swap::read(sick.clone()), support::claim(&sick)] {
            let error = Store::swap(&store, &swap).unwrap_err();
            assert!(
                matches!(error, StoreError::Corrupt(_)),
                "{damage}: {error:?}"
            );
            assert!(!format!("{error:?}{}", cause(&error)).contains("sick"));
        }
        assert!(here(&store, &sound).is_some(), "{damage}");
    }
}

#[test]
fn keys_that_share_a_hash_are_kept_apart() {
    let folder = Folder::new();
    let path = folder.path("idemp.db");
    let store = SqliteStore::open(&path).unwrap();
    let (other, own) = (key("other"), key("own"));
    for slot in [&other, &own] {
        begin(&store, slot);
    }
    // No two keys are known that do, so the row that lies first is given the hash of the second.
    meddle(
        &path,
        "UPDATE slots SET hash = (SELECT hash FROM slots WHERE id = 2)",
    );
    let there = here(&store, &own).unwrap();
    end(&store, &own, &there, b"mine");
    assert_eq!(&here(&store, &own).unwrap().body[..], b"mine");

    let rev = here(&store, &own).unwrap().rev;
    let forget = Swap {
        slot: own.clone(),
        expect: Expect::Rev(rev),
        put: Put::Remove,
    };
    let forgotten = Store::swap(&store, &forget).unwrap();
    assert_eq!(forgotten.verdict, Verdict::Won);
    assert!(
        here(&store, &own).is_none(),
        "the other one's row is not it"
    );
    begin(&store, &own);
    let rows = "SELECT hex(key), hex(body), count(*) OVER () FROM slots ORDER BY id LIMIT 1";
    let (first, body, count): (String, String, i64) = raw(&path)
        .query_row(rows, [], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))
        .unwrap();
    let hex: String = other
        .as_bytes()
        .iter()
        .map(|b| format!("{b:02X}"))
        .collect();
    assert_eq!(
        (first, body.as_str(), count),
        (hex, "", 2),
        "it lies there as it did"
    );
}

#[test]
fn a_record_of_another_type_cannot_even_be_written() {
    let folder = Folder::new();
    let path = folder.path("idemp.db");
    filled(&path, 1);
    for damage in [
        "rev = 'text'",
        "head = 7",
        "gone_at = 'soon'",
        "body = NULL",
    ] {
        let written = raw(&path).execute_batch(&format!("UPDATE slots SET {damage}"));
        assert!(written.is_err(), "{damage}");
    }
}

#[test]
fn a_locked_file_is_a_timeout_after_the_bound_and_replays_are_answered_meanwhile() {
    let folder = Folder::new();
    let path = folder.path("idemp.db");
    let bound = Duration::from_millis(150);
    let store = SqliteOptions::new()
        .busy_timeout(bound)
        .open(&path)
        .unwrap();
    begin(&store, &key("there"));
    let other = raw(&path);
    other.execute_batch("BEGIN IMMEDIATE").unwrap();

    let started = Instant::now();
    let error = Store::swap(&store, &support::claim(&key("new"))).unwrap_err();
    assert!(matches!(error, StoreError::Timeout), "{error:?}");
    assert!(started.elapsed() >= bound && started.elapsed() < bound * 20);
    assert!(here(&store, &key("there")).is_some());
    assert_ne!(
        Store::swap(&store, &support::claim(&key("there")))
            .unwrap()
            .verdict,
        Verdict::Won
    );

    other.execute_batch("ROLLBACK").unwrap();
    begin(&store, &key("new"));
}

#[test]
fn a_file_that_is_locked_for_good_cannot_be_opened_and_says_so_in_time() {
    let folder = Folder::new();
    let path = folder.path("idemp.db");
    filled(&path, 1);
    let other = raw(&path);
    other
        .pragma_update(None, "locking_mode", "exclusive")
        .unwrap();
    other.execute_batch("BEGIN EXCLUSIVE; COMMIT").unwrap();
    let options = SqliteOptions::new().busy_timeout(Duration::from_millis(100));
    let error = options.open(&path).unwrap_err();
    assert!(matches!(error, StoreError::Timeout), "{error:?}");
}

#[test]
fn a_full_file_refuses_new_keys_loudly_and_still_answers_and_finishes_the_old_ones() {
    let folder = Folder::new();
    let store = quick()
        .max_bytes(1 << 20)
        .open(folder.path("idemp.db"))
        .unwrap();
    let mut begun = Vec::new();
    let error = loop {
        let slot = key(&format!("n{}", begun.len()));
        match Store::swap(&store, &support::claim(&slot)) {
            Ok(reply) => {
                assert_eq!(reply.verdict, Verdict::Won);
                begun.push(slot);
            }
            Err(error) => break error,
        }
    };
    assert!(matches!(error, StoreError::Full), "{error:?}");
    assert!(begun.len() > 1000, "{}", begun.len());
    for slot in &begun {
        let there = here(&store, slot).expect("nothing was evicted");
        end(&store, slot, &there, b"");
    }
    let refused = key(&format!("n{}", begun.len()));
    assert!(
        here(&store, &refused).is_none(),
        "what was refused left no trace"
    );
}

#[test]
fn a_full_file_makes_room_of_what_is_gone() {
    let folder = Folder::new();
    let clock = idemp::testing::FakeClock::new();
    let options = quick().max_bytes(1 << 20).clock(clock.clone());
    let store = options.open(folder.path("idemp.db")).unwrap();
    let fill = |round: usize| {
        let mut won = 0;
        while Store::swap(&store, &support::claim(&key(&format!("{round}-{won}")))).is_ok() {
            won += 1;
        }
        won
    };
    let first = fill(0);
    clock.advance(support::KEEP);
    let second = fill(1);
    assert!(second > first / 2, "{first}, then {second}");
}

#[test]
fn a_folder_that_is_not_there_is_unusable() {
    let folder = Folder::new();
    let error = SqliteStore::open(folder.path("none/idemp.db")).unwrap_err();
    assert!(matches!(error, StoreError::Unusable(_)), "{error:?}");
}

#[test]
fn a_path_is_a_path_and_no_uri_and_no_memory() {
    let folder = Folder::new();
    for name in ["file:idemp.db?mode=memory", "a ? b # c.db"] {
        filled(&folder.path(name), 1);
        assert!(folder.path(name).exists(), "{name}");
    }
}

/// What is read-only to one user may not be so to root, so a user that is nobody looks.
#[cfg(unix)]
#[test]
fn a_file_or_folder_that_is_read_only_is_unusable() {
    use std::os::unix::fs::PermissionsExt;
    use std::os::unix::process::CommandExt;

    const TOLD: &str = "IDEMP_SQLITE_READ_ONLY";
    let allow = |path: &Path, mode| {
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
    };
    if let Some(path) = std::env::var_os(TOLD) {
        let error = SqliteStore::open(path).unwrap_err();
        assert!(
            matches!(error, StoreError::Unusable(_)) && !error.is_retryable(),
            "{error:?}"
        );
        return;
    }
    for (file_mode, folder_mode) in [(0o444, 0o777), (0o666, 0o555), (0o000, 0o777)] {
        let folder = Folder::new();
        let path = folder.path("idemp.db");
        filled(&path, 1);
        allow(&path, file_mode);
        allow(folder.root(), folder_mode);
        // The program may lie where nobody may look: a copy beside the file.
        let tools = Folder::new();
        allow(tools.root(), 0o755);
        let program = tools.path("test");
        std::fs::copy(std::env::current_exe().unwrap(), &program).unwrap();
        allow(&program, 0o755);
        let mut look = Command::new(&program);
        look.args(["--exact", "a_file_or_folder_that_is_read_only_is_unusable"]);
        look.env(TOLD, &path).current_dir("/");
        if support::is_root() {
            look.uid(65_534).gid(65_534);
        }
        let looked = look.output().unwrap();
        allow(folder.root(), 0o755);
        let text = String::from_utf8_lossy(&looked.stdout);
        assert!(
            looked.status.success() && text.contains("1 passed"),
            "{file_mode:o}: {text}"
        );
    }
}

#[test]
fn many_that_open_a_new_file_at_once_make_one_of_it() {
    for _ in 0..10 {
        let folder = Folder::new();
        let path = folder.path("idemp.db");
        let stores: Vec<SqliteStore> = std::thread::scope(|threads| {
            let opening: Vec<_> = (0..6)
                .map(|_| threads.spawn(|| SqliteStore::open(&path).unwrap()))
                .collect();
            opening
                .into_iter()
                .map(|opening| opening.join().unwrap())
                .collect()
        });
        begin(&stores[0], &key("a"));
        assert!(stores.iter().all(|store| here(store, &key("a")).is_some()));
    }
}

#[test]
fn the_whole_file_passes_sqlites_own_check() {
    let folder = Folder::new();
    let path = folder.path("idemp.db");
    filled(&path, 300);
    let found: String = Connection::open(&path)
        .unwrap()
        .query_row("PRAGMA integrity_check", [], |row| row.get(0))
        .unwrap();
    assert_eq!(found, "ok");
}
