//! The player, as `cargo xtask demo` runs it.

use std::io::{BufRead, BufReader, Read};
use std::net::{SocketAddr, TcpStream};
use std::process::{Child, ChildStdout, Command, Output, Stdio};
use std::time::{Duration, Instant};

/// Ends with the test, whatever becomes of it. Its output stays open, as that of a terminal.
struct Player(Child, Option<BufReader<ChildStdout>>);

impl Drop for Player {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn play() -> Command {
    let mut play = Command::new(env!("CARGO_BIN_EXE_play"));
    play.env_remove("IDEMPOTENCY_TTL_HOURS");
    play
}

/// A player that serves, and where.
fn serving() -> (Player, SocketAddr) {
    let child = play()
        .arg("--serve")
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut player = Player(child, None);
    let mut output = BufReader::new(player.0.stdout.take().unwrap());
    let mut address = None;
    let mut commands = 0;
    for line in output.by_ref().lines().map_while(Result::ok) {
        if let Some((_, place)) = line.split_once("listening on http://") {
            address = place.parse().ok();
        }
        commands += usize::from(line.starts_with("curl "));
        if line.contains("Ctrl-C") {
            break;
        }
    }
    assert_eq!(commands, 3);
    player.1 = Some(output);
    (player, address.unwrap())
}

fn is_gone(address: SocketAddr) -> bool {
    let since = Instant::now();
    while TcpStream::connect(address).is_ok() {
        if since.elapsed() > Duration::from_secs(10) {
            return false;
        }
        std::thread::yield_now();
    }
    true
}

#[test]
fn every_check_of_the_play_holds_and_what_it_prints_fits_a_plain_page_of_a_hundred_columns() {
    let output = play().output().unwrap();
    assert!(String::from_utf8_lossy(&output.stdout).contains("SIGKILL"));
    holds(output);
}

#[test]
fn without_a_store_that_lasts_everything_but_the_kill_is_played() {
    let output = play().args(["--store", "memory"]).output().unwrap();
    assert!(!String::from_utf8_lossy(&output.stdout).contains("SIGKILL"));
    holds(output);
}

fn holds(output: Output) {
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success(), "{text}");
    assert!(text.contains("checks held"), "{text}");
    assert!(!text.contains('✗'), "{text}");
    assert!(!text.contains('\u{1b}'), "colour is for terminals");
    for line in text.lines() {
        assert!(line.chars().count() <= 100, "{line}");
    }
}

#[test]
fn what_it_does_not_know_it_does_not_do() {
    let output = play().arg("--save").output().unwrap();
    assert_eq!(output.status.code(), Some(2));
    assert!(output.stdout.is_empty());
}

#[cfg(unix)]
#[test]
fn a_service_that_was_left_running_ends_with_an_interrupt_of_its_player() {
    let (mut player, address) = serving();
    assert!(TcpStream::connect(address).is_ok());
    let id = player.0.id().to_string();
    let sent = Command::new("kill").args(["-s", "INT", &id]).status();
    assert!(sent.unwrap().success());
    assert!(player.0.wait().unwrap().success());
    assert!(is_gone(address));
}

#[test]
fn even_a_player_that_is_killed_leaves_no_service_behind() {
    let (mut player, address) = serving();
    assert!(TcpStream::connect(address).is_ok());
    player.0.kill().unwrap();
    assert!(is_gone(address));
}
