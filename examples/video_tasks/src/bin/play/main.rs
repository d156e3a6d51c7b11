//! The player: starts the service as a process of its own, plays both cases over real HTTP, and
//! checks every answer. `cargo xtask demo` runs it.

mod screen;
mod serve;
mod service;
mod setting;
mod show;
mod tracks;
mod videos;

use std::process::ExitCode;
use std::time::Instant;

use video_tasks::client::Error;

use crate::service::{Log, Service};
use crate::setting::Setting;
use crate::show::Show;

const USAGE: &str = "\
usage: play [--store URL] [--serve [--port N]]

  without options   play both cases, and end with what was checked
  --store URL       keep the idempotency keys there: memory, sqlite:PATH, postgres://... or
                    redis://...; by default in an SQLite file that goes with the play
  --serve           leave the service running, with commands to try it
  --port N          on this port; by default on a free one
";

#[tokio::main]
async fn main() -> ExitCode {
    let options = match options(std::env::args().skip(1)) {
        Ok(Some(options)) => options,
        Ok(None) => {
            print!("{USAGE}");
            return ExitCode::SUCCESS;
        }
        Err(message) => {
            eprint!("{message}\n\n{USAGE}");
            return ExitCode::from(2);
        }
    };
    match run(options).await {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("\n{}", screen::red(&error.to_string()));
            ExitCode::FAILURE
        }
    }
}

#[derive(Default)]
struct Options {
    store: Option<String>,
    serve: bool,
    port: Option<String>,
}

/// `None` where help is asked for.
fn options(mut arguments: impl Iterator<Item = String>) -> Result<Option<Options>, &'static str> {
    let mut options = Options::default();
    while let Some(argument) = arguments.next() {
        match argument.as_str() {
            "--store" => options.store = Some(arguments.next().ok_or("`--store` takes a URL")?),
            "--serve" => options.serve = true,
            "--port" => options.port = Some(arguments.next().ok_or("`--port` takes a number")?),
            "--help" | "-h" => return Ok(None),
            _ => return Err("there is no such option"),
        }
    }
    if options.port.is_some() && !options.serve {
        return Err("`--port` goes with `--serve`");
    }
    Ok(Some(options))
}

async fn run(options: Options) -> Result<bool, Error> {
    let setting = Setting::new(options.store)?;
    if options.serve {
        serve::run(options.port.as_deref().unwrap_or("0"), &setting).await
    } else {
        play(&setting).await
    }
}

/// Whether every check held.
async fn play(setting: &Setting) -> Result<bool, Error> {
    let started = Instant::now();
    let mut service = Service::start("0", Log::Kept, setting)?;
    let mut show = Show::begin(service.address(), setting.kind());
    videos::a_retry_is_a_replay(&mut show).await?;
    videos::other_clothes(&mut show).await?;
    videos::another_payload(&mut show).await?;
    let mut log = Vec::new();
    if setting.lasts() {
        show.act("The service is killed between the answer and the retry");
        let retry = videos::before_the_kill(&mut show).await?;
        let active = tracks::before_the_kill(&mut show).await?;
        log = service.kill()?;
        service = Service::start("0", Log::Kept, setting)?;
        show.moved(service.address());
        show.say(&format!(
            "SIGKILL: no signal handler, no goodbye. It is started again, at http://{}.",
            service.address()
        ));
        videos::after_the_kill(&mut show, retry).await?;
        tracks::after_the_kill(&mut show, active).await?;
    }
    videos::a_full_house(&mut show).await?;
    tracks::three_at_once(&mut show).await?;
    tracks::after_the_end(&mut show).await?;
    videos::fifty_at_once(&mut show).await?;
    log.extend(service.stop()?);
    show.log(
        &log,
        "the first key: ordered, retried twice, and mixed up once",
        &format!("key={}", show::cut(videos::KEY)),
    );
    if setting.lasts() {
        show.log(
            &log,
            "the key of the order whose service was killed",
            &format!("key={}", show::cut(videos::KILLED_KEY)),
        );
    }
    show.log(
        &log,
        "a key that was refused with 429, and used again when there was room",
        &format!("key={}", show::cut(videos::REFUSED_KEY)),
    );
    show.log(
        &log,
        "three requests at once for one file (the key is a digest of its name)",
        &format!("user={}", show::cut(&show::of_this_play(tracks::TENANT))),
    );
    Ok(show.end(started.elapsed()))
}
