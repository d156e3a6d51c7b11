//! Law 1 over two processes: the test starts itself once more.
//!
//! The other process joins the room, says that it is ready, and does what it is told, line by
//! line: `claim N` to claim the Nth name, `count N` to count a counter up by N steps.

use std::io::{BufRead, BufReader, Write};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

use idemp::{AsyncStore, Expect, SlotKey, Verdict};

use super::atomic::{count_up, every_step_once, numbered};
use crate::room::INVITATION;
use crate::subject::Subject;
use crate::world::{HOUR, Held, PATIENCE, Seen, World, ask, broken, ensure, found, name, new, put};

const CLAIMS: u64 = 200;
const STEPS: u64 = 150;
/// What the other process says stands behind this, amid what the test harness prints.
const SAYS: &str = "idemp-conformance says: ";

pub(crate) async fn one_store<S: Subject>(world: &World<S>) -> Held {
    if world.subject.limits().one_process {
        return Ok(());
    }
    if world.room.is_joined() {
        return serve(&*world.store).await;
    }
    world.lay(&counter(), Expect::Vacant, numbered(0)).await?;
    let mut other = Other::start(world)?;
    for number in 0..CLAIMS {
        other.tell(&format!("claim {number}"))?;
        // Now the one is a little ahead, now the other.
        (0..number % 20 * 500).for_each(|_| std::hint::spin_loop());
        let mine = claim(&*world.store, number).await?;
        let its = other.says("claimed")?;
        let there = world.read(&claimed(number)).await?;
        let both = format!("{mine} {its}");
        let rev = there.as_ref().map(|slot| format!("{:?}", slot.rev));
        ensure!(
            both.split(' ').filter(|rev| *rev != "lost").count() == 1,
            "two processes claimed one slot, and {}",
            if both == "lost lost" {
                "both were told that they lost"
            } else {
                "both were told `Won`"
            }
        );
        ensure!(
            rev.as_deref() == both.split(' ').find(|rev| *rev != "lost"),
            "two processes claimed one slot; it is not the winner's slot that lies there: {}",
            found(there.as_ref())
        );
    }
    other.tell(&format!("count {STEPS}"))?;
    let mut made = count_up(&*world.store, &counter(), STEPS).await?;
    let its = other.says("counted")?;
    made.extend(its.split(' ').filter_map(|step| step.parse::<u64>().ok()));
    ensure!(
        made.len() as u64 == 2 * STEPS,
        "the other process did not make its {STEPS} steps"
    );
    every_step_once(made, world.read(&counter()).await?.as_ref())
}

fn counter() -> SlotKey {
    name("counted by two processes")
}

fn claimed(number: u64) -> SlotKey {
    name(&format!("claimed-by-two-{number}"))
}

/// The revision that was put, or `lost`.
async fn claim(store: &impl AsyncStore, number: u64) -> Held<String> {
    let new = new(HOUR, HOUR * 24);
    let rev = new.rev;
    let reply = ask(store, &put(&claimed(number), Expect::Vacant, new)).await?;
    Ok(match reply.verdict {
        Verdict::Won => format!("{rev:?}"),
        Verdict::Lost(_) => "lost".into(),
    })
}

/// What the other process does, until the first one has nothing more to say.
async fn serve(store: &impl AsyncStore) -> Held {
    let say = |words: String| {
        println!("\n{SAYS}{words}");
    };
    say("ready".into());
    for line in std::io::stdin().lock().lines() {
        let line = line.unwrap_or_default();
        match line.split_once(' ').map(|(verb, n)| (verb, n.parse())) {
            Some(("claim", Ok(number))) => say(format!("claimed {}", claim(store, number).await?)),
            Some(("count", Ok(steps))) => {
                let made = count_up(store, &counter(), steps).await?;
                let made: Vec<String> = made.iter().map(u64::to_string).collect();
                say(format!("counted {}", made.join(" ")));
            }
            _ => break,
        }
    }
    Ok(())
}

/// The other process; it ends with this, or is ended.
struct Other {
    process: Child,
    /// Where this ends, the other process does.
    input: Option<ChildStdin>,
    lines: Receiver<String>,
}

impl Other {
    fn start<S: Subject>(world: &World<S>) -> Held<Self> {
        let failed = |error: std::io::Error| {
            Seen(format!("the other process could not be started: {error}"))
        };
        // A test's name does not begin with that of its crate, as its module's path does.
        let test = world
            .here
            .split_once("::")
            .map_or(world.here, |(_, test)| test);
        let mut process = Command::new(std::env::current_exe().map_err(failed)?)
            .args([test, "--exact", "--nocapture", "--test-threads=1"])
            .env(INVITATION, world.room.invitation())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .map_err(failed)?;
        let input = process.stdin.take();
        let Some(output) = process.stdout.take() else {
            broken!("what the other process says cannot be read")
        };
        let (sender, lines) = channel();
        std::thread::spawn(move || {
            for line in BufReader::new(output).lines().map_while(Result::ok) {
                let said = line.strip_prefix(SAYS).map(String::from);
                if said.is_some_and(|said| sender.send(said).is_err()) {
                    break;
                }
            }
        });
        let other = Self {
            process,
            input,
            lines,
        };
        other.says("ready")?;
        Ok(other)
    }

    fn tell(&mut self, words: &str) -> Held {
        let told = self.input.as_mut().map(|input| writeln!(input, "{words}"));
        ensure!(matches!(told, Some(Ok(()))), "the other process is gone");
        Ok(())
    }

    /// What it says behind that word.
    fn says(&self, word: &str) -> Held<String> {
        match self.lines.recv_timeout(PATIENCE) {
            Ok(said) if said.starts_with(word) => Ok(said[word.len()..].trim().to_string()),
            Ok(said) => broken!("the other process says {said:?}, and not that it is {word}"),
            Err(_) => broken!(
                "the other process fell silent before it was {word}; what it saw stands above, where it says what broke"
            ),
        }
    }
}

impl Drop for Other {
    fn drop(&mut self) {
        drop(self.input.take());
        let started = Instant::now();
        while matches!(self.process.try_wait(), Ok(None)) {
            if started.elapsed() > Duration::from_secs(10) {
                let _ = self.process.kill();
                let _ = self.process.wait();
                return;
            }
            std::thread::sleep(Duration::from_millis(1));
        }
    }
}
