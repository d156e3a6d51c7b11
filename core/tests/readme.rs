//! The code in the README compiles and does what the README says: each excerpt marked here has to
//! stand there word for word.

use std::error::Error as StdError;
use std::time::Duration;

use idemp::{Decision, Fingerprint, Idempotency, Key, Lease, MemoryStore, Policy, Scope};

#[derive(Debug)]
enum Error {
    Conflict,
    RetryAfter(Option<Duration>),
    Unknown,
    Other,
}

impl<E: StdError> From<E> for Error {
    fn from(_: E) -> Self {
        Self::Other
    }
}

fn create_task(_: &[u8]) -> Result<String, Error> {
    Ok("vt_4e80c173".into())
}

#[rustfmt::skip]
fn handle(
    idem: &Idempotency<MemoryStore>, user: &str, header: &str, body: &[u8],
) -> Result<String, Error> {
    // README
    let scope = Scope::new([user, "POST /api/video-tasks"])?;
    let key = Key::new(header)?;
    match idem.begin(&scope, &key, &Fingerprint::of_json(body))? {
        Decision::Miss(mut lease) => {
            let task = create_task(body)?;                    // an error here releases the key
            lease.finish(&task)?;
            Ok(task)
        }
        Decision::Hit(replay) => Ok(replay.json()?),          // the same answer; nothing is created
        Decision::Conflict => Err(Error::Conflict),           // the key came with another payload
        other @ Decision::InProgress(_) => Err(Error::RetryAfter(other.retry_after())),
        Decision::Unknown | Decision::Expired => Err(Error::Unknown),
    }
    // end
}

#[test]
fn the_first_example_replays_and_refuses() {
    let idem = Idempotency::new(MemoryStore::new());
    let call = |body: &str| handle(&idem, "user-1", "final-1769660861", body.as_bytes());
    let first = call(r#"{"prompt": "a cat", "seconds": 5}"#).unwrap();
    assert_eq!(
        call(r#"{"seconds": 5.0, "prompt": "a cat"}"#).unwrap(),
        first
    );
    assert!(matches!(call("{}"), Err(Error::Conflict)));

    let scope = Scope::new(["user-2", "POST /api/video-tasks"]).unwrap();
    let key = Key::new("in-flight").unwrap();
    let Ok(Decision::Miss(_lease)) = idem.begin(&scope, &key, &Fingerprint::of_json(b"{}")) else {
        panic!("a new key is a miss")
    };
    let wait = handle(&idem, "user-2", "in-flight", b"{}");
    assert!(matches!(wait, Err(Error::RetryAfter(Some(wait))) if wait == Policy::DEFAULT_LEASE));
}

#[test]
#[rustfmt::skip]
fn the_second_example_holds_a_key_while_the_work_is_active() -> Result<(), Box<dyn StdError>> {
    // README
    let active = Policy::while_active(Duration::from_secs(6 * 3600)).build()?;
    let idem = Idempotency::builder(MemoryStore::new()).policy(active).build();
    let (scope, key) = (Scope::new(["tenant-7"])?, Key::new("holiday.mp4")?);
    let same = Fingerprint::of_bytes(b"analyse");

    let Decision::Miss(mut lease) = idem.begin(&scope, &key, &same)? else { unreachable!() };
    lease.publish("task-1")?;                                  // what duplicates are told
    let token = lease.detach();                                // for the worker that ends the task

    let Decision::InProgress(other) = idem.begin(&scope, &key, &same)? else { unreachable!() };
    assert_eq!(other.json::<String>()?.as_deref(), Some("task-1"));

    idem.resume(token).finish("done")?;                        // completed, failed or cancelled
    assert!(idem.begin(&scope, &key, &same)?.is_miss());       // the next request starts anew
    // end
    Ok(())
}

fn charge(_fence: u64) -> Result<String, Error> {
    Ok("receipt".into())
}

#[test]
#[rustfmt::skip]
fn the_third_example_runs_once() {
    let idem = Idempotency::new(MemoryStore::new());
    let (scope, key) = (Scope::new(["tenant-7"]).unwrap(), Key::new("invoice-2026-11").unwrap());
    let work = |lease: &mut Lease<MemoryStore>| charge(lease.fence());
    let twice = || -> Result<String, idemp::RunError<Error>> {
        // README
        let receipt: String = idem.run(&scope, &key, &("invoice-2026-11", 1999), |lease| {
            lease.publish("charging")?;
            charge(lease.fence())
        })?;
        // end
        assert_eq!(receipt, idem.run(&scope, &key, &("invoice-2026-11", 1999), work)?);
        Ok(receipt)
    };
    assert_eq!(twice().unwrap(), "receipt");
}

#[test]
fn every_excerpt_stands_in_the_readme() {
    let readme = include_str!("../../README.md");
    let excerpts = include_str!("readme.rs").split("// README\n").skip(1);
    let mut found = 0;
    for excerpt in excerpts
        .filter_map(|text| text.split_once("// end\n"))
        .map(|(text, _)| text)
    {
        let indent = excerpt.len() - excerpt.trim_start().len();
        let lines = excerpt
            .lines()
            .map(|line| line.get(indent..).unwrap_or(line.trim()));
        let excerpt = lines.collect::<Vec<_>>().join("\n");
        assert!(
            readme.contains(excerpt.trim_end()),
            "not in the README:\n{excerpt}"
        );
        found += 1;
    }
    assert_eq!(found, 3);
}
