//! Nothing is left of a server whose owner was killed, or that nobody drops.

use idemp_servers::{Postgres, Redis};
use std::io::{BufRead, BufReader, Read};
use std::net::TcpStream;
use std::path::PathBuf;
use std::process::{Child, ChildStdout, Command, Stdio};
use std::time::{Duration, Instant};

const OWNER: &str = "IDEMP_SERVERS_OWNER";
const LIMIT: Duration = Duration::from_secs(30);

/// This very test in a process of its own, which says where its servers are.
fn owner(test: &str, how: &str) -> (Child, BufReader<ChildStdout>, Vec<String>) {
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", test, "--nocapture"])
        .env(OWNER, how)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut output = BufReader::new(child.stdout.take().unwrap());
    let lines = output.by_ref().lines().map(Result::unwrap);
    let told = lines.filter_map(|line| line.split("server at ").nth(1).map(String::from));
    let addresses: Vec<String> = told.take(2).collect();
    assert_eq!(addresses.len(), 2);
    (child, output, addresses)
}

/// What the other process does.
fn own(how: &str) {
    println!("\nserver at {}", Postgres::shared().addr());
    println!("\nserver at {}", Redis::shared().addr());
    if how == "killed" {
        // Until the parent kills it; should the parent be gone, its end of the pipe is closed.
        let _ = std::io::stdin().lines().count();
    }
}

fn folders_of(owner: u32) -> Vec<PathBuf> {
    let ours = format!("idemp-servers-{owner}-");
    let items = std::fs::read_dir(std::env::temp_dir()).unwrap().flatten();
    let names = items.filter(|item| item.file_name().to_string_lossy().starts_with(&ours));
    names.map(|item| item.path()).collect()
}

fn nothing_is_left(owner: u32, addresses: &[String]) {
    let started = Instant::now();
    loop {
        let answers = |addr: &&String| TcpStream::connect(addr.as_str()).is_ok();
        let running: Vec<_> = addresses.iter().filter(answers).collect();
        let folders = folders_of(owner);
        if running.is_empty() && folders.is_empty() {
            return;
        }
        assert!(started.elapsed() < LIMIT, "left: {running:?} {folders:?}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

#[test]
fn servers_end_with_a_process_that_is_killed() {
    if let Ok(how) = std::env::var(OWNER) {
        return own(&how);
    }
    let (mut child, _output, addresses) =
        owner("servers_end_with_a_process_that_is_killed", "killed");
    assert_eq!(
        folders_of(child.id()).len(),
        3,
        "two servers and a template"
    );
    child.kill().unwrap();
    child.wait().unwrap();
    nothing_is_left(child.id(), &addresses);
}

#[test]
fn shared_servers_end_with_their_process() {
    if let Ok(how) = std::env::var(OWNER) {
        return own(&how);
    }
    let (mut child, output, addresses) = owner("shared_servers_end_with_their_process", "ends");
    let said: Vec<String> = output.lines().map(Result::unwrap).collect();
    assert!(child.wait().unwrap().success(), "{said:?}");
    nothing_is_left(child.id(), &addresses);
}
