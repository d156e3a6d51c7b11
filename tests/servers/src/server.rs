//! One running server process: started, signalled, waited for.

use crate::keeper::Keeper;
use rustix::process::{Pid, Signal, kill_process};
use std::fs::{self, File};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

/// How long a server may take to start, to recover or to stop.
const PATIENCE: Duration = Duration::from_secs(60);
/// How often a server is looked at that tells nobody what it is doing.
const LOOK: Duration = Duration::from_millis(5);

#[derive(Debug)]
pub(crate) struct Server {
    process: Child,
}

impl Server {
    /// Starts `command` in a process group of its own, and waits until it is `ready`. `None` if it
    /// ended before: its port was taken, mostly, and its log says what else.
    pub(crate) fn start(
        command: &Command,
        keeper: &Keeper,
        mut ready: impl FnMut(u32) -> bool,
    ) -> Option<Self> {
        let log = File::create(log_file(keeper)).expect("the folder is there");
        // The shell notes its process id for the watchdog and becomes the server: no moment in
        // which a server runs that the watchdog knows nothing of.
        let mut shell = Command::new("sh");
        shell
            .args(["-c", r#"echo $$ >"$0" && exec "$@""#])
            .arg(keeper.pid_file())
            .arg(command.get_program())
            .args(command.get_args())
            .env("LC_ALL", "C")
            .current_dir(keeper.folder())
            .stdin(Stdio::null())
            .stdout(log.try_clone().expect("a second handle"))
            .stderr(log)
            .process_group(0);
        let process = shell.spawn().expect("sh is there");
        let mut server = Self { process };
        let started = Instant::now();
        while started.elapsed() < PATIENCE {
            if server.has_ended() {
                return None;
            }
            if ready(server.process.id()) {
                return Some(server);
            }
            thread::sleep(LOOK);
        }
        server.signal(Signal::KILL);
        server.wait();
        panic!(
            "a server was not ready within {PATIENCE:?}:\n{}",
            said(keeper)
        );
    }

    pub(crate) fn has_ended(&mut self) -> bool {
        matches!(self.process.try_wait(), Ok(Some(_)))
    }

    pub(crate) fn signal(&self, signal: Signal) {
        let pid = Pid::from_child(&self.process);
        // A server that is gone already has what it was to get.
        let _ = kill_process(pid, signal);
    }

    /// Waits for the end that a signal asked for; one that ignores it is killed.
    pub(crate) fn wait(&mut self) {
        let started = Instant::now();
        while !self.has_ended() {
            if started.elapsed() > PATIENCE {
                self.signal(Signal::KILL);
                let _ = self.process.wait();
                return;
            }
            thread::sleep(LOOK);
        }
    }

    /// Every process that this one has started itself.
    pub(crate) fn children(&self) -> Vec<Pid> {
        let own = self.process.id();
        let pids = match fs::read_dir("/proc") {
            Ok(items) => items
                .flatten()
                .filter_map(|item| item.file_name().to_str()?.parse().ok())
                .filter(|pid| status(*pid).is_some_and(|(_, parent)| parent == own))
                .collect::<Vec<u32>>(),
            Err(_) => listed(own),
        };
        pids.into_iter()
            .filter_map(|pid| Pid::from_raw(pid as i32))
            .collect()
    }
}

/// Waits until processes that were killed are gone, though they are not ours to wait for.
pub(crate) fn wait_for_the_end(pids: &[Pid]) {
    let started = Instant::now();
    let runs = |pid: &Pid| match status(pid.as_raw_nonzero().get() as u32) {
        Some((state, _)) => state != 'Z',
        None => !Path::new("/proc").exists() && rustix::process::test_kill_process(*pid).is_ok(),
    };
    while pids.iter().any(runs) {
        assert!(started.elapsed() < PATIENCE, "a killed process stays");
        thread::sleep(LOOK);
    }
}

/// What the server printed: the end of it.
pub(crate) fn said(keeper: &Keeper) -> String {
    let log = fs::read(log_file(keeper)).unwrap_or_default();
    let end = log.len().saturating_sub(4000);
    String::from_utf8_lossy(&log[end..]).into_owned()
}

fn log_file(keeper: &Keeper) -> std::path::PathBuf {
    keeper.folder().join("log")
}

/// State and parent, from `1234 (name) S 1 …`; the name may hold anything.
fn status(pid: u32) -> Option<(char, u32)> {
    let line = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let (_, rest) = line.rsplit_once(") ")?;
    let mut fields = rest.split(' ');
    let state = fields.next()?.chars().next()?;
    Some((state, fields.next()?.parse().ok()?))
}

/// For systems without `/proc`.
fn listed(parent: u32) -> Vec<u32> {
    let said = Command::new("ps").args(["-A", "-o", "pid=,ppid="]).output();
    let said = said.map(|said| said.stdout).unwrap_or_default();
    let pair = |line: &str| {
        let mut fields = line.split_whitespace().map(str::parse::<u32>);
        Some((fields.next()?.ok()?, fields.next()?.ok()?))
    };
    String::from_utf8_lossy(&said)
        .lines()
        .filter_map(pair)
        .filter(|(_, ppid)| *ppid == parent)
        .map(|(pid, _)| pid)
        .collect()
}
