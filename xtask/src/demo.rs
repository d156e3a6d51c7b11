//! `cargo xtask demo`: builds the video service and its player, and plays both cases over HTTP.

use crate::invocation::Invocation;
use crate::screen;

pub(crate) fn run(arguments: &[String]) -> Result<(), String> {
    let player = player(arguments)?;
    screen::say("building the service and its player; the first time takes about a minute");
    Invocation::new("cargo build --package video_tasks --bins").run()?;
    player.run()
}

fn player(arguments: &[String]) -> Result<Invocation, String> {
    let player = Invocation::new("cargo run --quiet --package video_tasks --bin play");
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match words[..] {
        [] => Ok(player),
        ["--serve"] => Ok(player.arg("--").arg("--serve")),
        ["--serve", "--port", port] => {
            let serve = player.arg("--").arg("--serve");
            Ok(serve.arg("--port").arg(port))
        }
        _ => Err("usage: cargo xtask demo [--serve [--port N]]".to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_plays_unless_it_is_told_to_serve() {
        let line = |words: &[&str]| {
            let words: Vec<String> = words.iter().map(|word| word.to_string()).collect();
            player(&words).map(|invocation| invocation.to_string())
        };
        let play = "cargo run --quiet --package video_tasks --bin play";
        assert_eq!(line(&[]).unwrap(), play);
        assert_eq!(line(&["--serve"]).unwrap(), format!("{play} -- --serve"));
        assert_eq!(
            line(&["--serve", "--port", "8080"]).unwrap(),
            format!("{play} -- --serve --port 8080")
        );
        assert!(line(&["--save"]).unwrap_err().starts_with("usage"));
    }
}
