//! The player: starts the service as a process of its own, plays both cases over real HTTP, and
//! checks every answer. `cargo xtask demo` runs it.

mod screen;
mod serve;
mod service;
mod show;
mod tracks;
mod videos;

use std::process::ExitCode;
use std::time::Instant;

use crate::service::{Log, Service};
use crate::show::Show;

const USAGE: &str = "\
usage: play [--serve [--port N]]

  without options   play both cases, and end with what was checked
  --serve           leave the service running, with commands to try it
  --port N          on this port; by default on a free one
";

#[tokio::main]
async fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let played = match words[..] {
        [] => play().await,
        ["--serve"] => serve::run("0").await,
        ["--serve", "--port", port] | ["--port", port, "--serve"] => serve::run(port).await,
        ["--help" | "-h"] => {
            print!("{USAGE}");
            return ExitCode::SUCCESS;
        }
        _ => {
            eprint!("{USAGE}");
            return ExitCode::from(2);
        }
    };
    match played {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("\n{}", screen::red(&error.to_string()));
            ExitCode::FAILURE
        }
    }
}

/// Whether every check held.
async fn play() -> Result<bool, video_tasks::client::Error> {
    let started = Instant::now();
    let service = Service::start("0", Log::Kept)?;
    let mut show = Show::begin(service.address());
    videos::a_retry_is_a_replay(&mut show).await?;
    videos::other_clothes(&mut show).await?;
    videos::another_payload(&mut show).await?;
    videos::a_full_house(&mut show).await?;
    tracks::three_at_once(&mut show).await?;
    tracks::after_the_end(&mut show).await?;
    videos::fifty_at_once(&mut show).await?;
    let log = service.stop()?;
    show.log(
        &log,
        "the first key: ordered, retried twice, and mixed up once",
        &format!("key={}", show::cut(videos::KEY)),
    );
    show.log(
        &log,
        "a key that was refused with 429, and used again when there was room",
        &format!("key={}", show::cut(videos::REFUSED_KEY)),
    );
    show.log(
        &log,
        "three requests at once for one file (the key is a digest of its name)",
        &format!("user={}", show::cut(tracks::TENANT)),
    );
    Ok(show.end(started.elapsed()))
}
