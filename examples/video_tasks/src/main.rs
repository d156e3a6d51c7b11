//! The service, on a port of this machine.

use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;

use idemp::Event;
use idemp_stores::AnyStore;
use tokio::net::TcpListener;
use tokio::sync::oneshot;
use video_tasks::app::{App, Config};
use video_tasks::database::Database;
use video_tasks::stop;

const USAGE: &str = "\
usage: video_tasks [--port N] [--store URL] [--tasks FILE] [--stop-at-eof]

  --port N        listen on this port of 127.0.0.1; by default PORT, else a free one
  --store URL     where the idempotency keys are: memory, sqlite:PATH, postgres://... or
                  redis://...; by default STORE, else sqlite:idempotency.db
  --tasks FILE    where the tasks are, an SQLite file; by default video_tasks.db
  --stop-at-eof   stop when the standard input ends, so that nobody who starts it leaves it behind

  IDEMPOTENCY_TTL_HOURS   how long the outcome of a create is replayed, 24 by default
";

struct Options {
    port: u16,
    store: String,
    tasks: PathBuf,
    stop_at_eof: bool,
}

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
    match run(&options).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("video_tasks: {error}");
            ExitCode::FAILURE
        }
    }
}

async fn run(options: &Options) -> Result<(), Box<dyn std::error::Error>> {
    let config = Config::from_env()?;
    let store = AnyStore::open(&options.store).await?;
    let database = Database::open(&options.tasks)?;
    let app = App::new(&config, store, database, |event: &Event<'_>| {
        eprintln!("{event}");
    });
    let listener = TcpListener::bind(("127.0.0.1", options.port)).await?;
    // Before the line, so that whoever reads it can stop the service at once.
    let stop = until(options.stop_at_eof)?;
    println!("listening on http://{}", listener.local_addr()?);
    std::io::stdout().flush()?;
    Ok(app.serve(listener, stop).await?)
}

/// `None` where help is asked for.
fn options(mut arguments: impl Iterator<Item = String>) -> Result<Option<Options>, String> {
    let mut port = std::env::var("PORT").ok();
    let mut store = std::env::var("STORE").ok();
    let mut tasks = PathBuf::from("video_tasks.db");
    let mut stop_at_eof = false;
    while let Some(argument) = arguments.next() {
        match argument.as_str() {
            "--port" => port = Some(arguments.next().ok_or("`--port` takes a number")?),
            "--store" => store = Some(arguments.next().ok_or("`--store` takes a URL")?),
            "--tasks" => tasks = arguments.next().ok_or("`--tasks` takes a file")?.into(),
            "--stop-at-eof" => stop_at_eof = true,
            "--help" | "-h" => return Ok(None),
            other => return Err(format!("`{other}` is not an option")),
        }
    }
    let port = port.map_or(Ok(0), |port| {
        port.parse()
            .map_err(|_| format!("`{port}` is not a port, which is 0 to 65535"))
    })?;
    Ok(Some(Options {
        port,
        store: store.unwrap_or_else(|| "sqlite:idempotency.db".to_owned()),
        tasks,
        stop_at_eof,
    }))
}

/// Ready when the process is asked to end, and, where wanted, at the end of the standard input.
fn until(at_eof: bool) -> std::io::Result<impl Future<Output = ()> + Send + 'static> {
    let requested = stop::requested()?;
    let (ended, end) = oneshot::channel::<()>();
    if at_eof {
        std::thread::spawn(move || {
            // What comes is of no interest, and an error is an end, too.
            let _ = std::io::copy(&mut std::io::stdin().lock(), &mut std::io::sink());
            let _ = ended.send(());
        });
    }
    Ok(async move {
        tokio::select! {
            () = requested => {}
            _ = end, if at_eof => {}
        }
    })
}
