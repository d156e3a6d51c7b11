//! `cargo xtask demo`: builds the video service and its player, and plays both cases over HTTP.

use crate::invocation::Invocation;
use crate::screen;

const USAGE: &str = "usage: cargo xtask demo [--store memory|sqlite:PATH|postgres://...|redis://...] [--serve [--port N]]";

pub(crate) fn run(arguments: &[String]) -> Result<(), String> {
    let player = player(arguments)?;
    screen::say("building the service and its player; the first time takes about a minute");
    Invocation::new("cargo build --package video_tasks --bins").run()?;
    player.run()
}

fn player(arguments: &[String]) -> Result<Invocation, String> {
    let mut player = Invocation::new("cargo run --quiet --package video_tasks --bin play --");
    let mut words = arguments.iter();
    while let Some(word) = words.next() {
        player = player.arg(word);
        match word.as_str() {
            "--serve" => {}
            "--port" | "--store" => {
                let value = words
                    .next()
                    .ok_or_else(|| format!("{word} takes a value\n{USAGE}"))?;
                player = player.arg(value);
            }
            _ => return Err(USAGE.to_string()),
        }
    }
    Ok(player)
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
        let play = "cargo run --quiet --package video_tasks --bin play --";
        assert_eq!(line(&[]).unwrap(), play);
        assert_eq!(line(&["--serve"]).unwrap(), format!("{play} --serve"));
        assert_eq!(
            line(&["--serve", "--port", "8080"]).unwrap(),
            format!("{play} --serve --port 8080")
        );
        assert_eq!(
            line(&["--store", "memory"]).unwrap(),
            format!("{play} --store memory")
        );
        assert!(line(&["--store"]).is_err());
        assert!(line(&["--save"]).unwrap_err().starts_with("usage"));
    }
}
