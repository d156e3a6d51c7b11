//! Nothing is left of a server whose owner was killed, or that nobody drops.

use std::fmt::Display;
use std::io::{BufRead, BufReader, Read};
use std::net::TcpStream;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

const OWNER: &str = "IDEMP_SERVERS_OWNER";
const LIMIT: Duration = Duration::from_secs(30);

/// Runs `test`, which calls this, in a process of its own, kills that once its server runs, and
/// looks for what is left. There, `start` starts the server that nobody drops.
pub(crate) fn of_a_killed_process<A: Display>(test: &str, start: impl FnOnce() -> A) {
    if std::env::var_os(OWNER).is_some() {
        println!("\nserver at {}", start());
        // Until the parent kills it; should the parent be gone, its end of the pipe is closed.
        let _ = std::io::stdin().lines().count();
        return;
    }
    let (mut child, _output, address) = owner(test);
    assert!(!folders_of(child.id()).is_empty());
    child.kill().unwrap();
    child.wait().unwrap();
    nothing_is_left(child.id(), &address);
}

/// As [`of_a_killed_process`], with one that ends by itself.
pub(crate) fn of_a_process_that_ends<A: Display>(test: &str, start: impl FnOnce() -> A) {
    if std::env::var_os(OWNER).is_some() {
        println!("\nserver at {}", start());
        return;
    }
    let (mut child, mut output, address) = owner(test);
    let mut said = String::new();
    output.read_to_string(&mut said).unwrap();
    assert!(child.wait().unwrap().success(), "{said}");
    nothing_is_left(child.id(), &address);
}

fn owner(test: &str) -> (Child, impl BufRead, String) {
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", test, "--nocapture"])
        .env(OWNER, "1")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut output = BufReader::new(child.stdout.take().unwrap());
    let mut lines = output.by_ref().lines().map(Result::unwrap);
    let address = lines.find_map(|line| line.strip_prefix("server at ").map(String::from));
    (child, output, address.expect("a server"))
}

fn folders_of(owner: u32) -> Vec<PathBuf> {
    let ours = format!("idemp-servers-{owner}-");
    let items = std::fs::read_dir(std::env::temp_dir()).unwrap().flatten();
    let names = items.filter(|item| item.file_name().to_string_lossy().starts_with(&ours));
    names.map(|item| item.path()).collect()
}

fn nothing_is_left(owner: u32, address: &str) {
    let started = Instant::now();
    loop {
        let answers = TcpStream::connect(address).is_ok();
        let folders = folders_of(owner);
        if !answers && folders.is_empty() {
            return;
        }
        assert!(started.elapsed() < LIMIT, "left: {address} {folders:?}");
        std::thread::sleep(Duration::from_millis(20));
    }
}
