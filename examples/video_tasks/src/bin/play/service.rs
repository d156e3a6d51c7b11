//! [`Service`]: the service, as a child process.

use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crate::setting::Setting;

/// For the one line that it prints, and for its end.
const PATIENCE: Duration = Duration::from_secs(10);

/// A running service. It ends with this value: gently by [`Service::stop`], else, on a panic also,
/// by its handle. If even this process is killed, its standard input ends, and so it stops.
pub(crate) struct Service {
    child: Child,
    stdin: Option<ChildStdin>,
    address: SocketAddr,
    log: Option<JoinHandle<Vec<String>>>,
}

/// What becomes of the lines that it writes to its log.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Log {
    /// Handed over at the end.
    Kept,
    /// Straight to the screen.
    Shown,
}

impl Service {
    /// Starts the program that lies beside this one, and waits until it listens.
    pub(crate) fn start(port: &str, log: Log, setting: &Setting) -> Result<Self, String> {
        let name = format!("video_tasks{}", std::env::consts::EXE_SUFFIX);
        let here = std::env::current_exe().map_err(|error| error.to_string())?;
        let mut child = Command::new(here.with_file_name(&name))
            .args(["--stop-at-eof", "--port", port])
            .arg("--tasks")
            .arg(setting.tasks())
            // Not an argument: it may hold a password.
            .env("STORE", setting.store())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(match log {
                Log::Kept => Stdio::piped(),
                Log::Shown => Stdio::inherit(),
            })
            .spawn()
            .map_err(|error| {
                format!("{name} did not start: {error}\n`cargo build -p video_tasks` builds it")
            })?;
        let stdin = child.stdin.take();
        let log = child.stderr.take().map(|stderr| {
            std::thread::spawn(move || {
                BufReader::new(stderr)
                    .lines()
                    .map_while(Result::ok)
                    .collect()
            })
        });
        let (tell, told) = mpsc::channel();
        if let Some(stdout) = child.stdout.take() {
            std::thread::spawn(move || {
                let mut line = String::new();
                let _ = BufReader::new(stdout).read_line(&mut line);
                let _ = tell.send(line);
            });
        }
        // From here on it ends with this value.
        let mut service = Self {
            child,
            stdin,
            address: SocketAddr::from(([127, 0, 0, 1], 0)),
            log,
        };
        let line = told.recv_timeout(PATIENCE).unwrap_or_default();
        let address = line.trim_end().strip_prefix("listening on http://");
        match address.and_then(|address| address.parse().ok()) {
            Some(address) => {
                service.address = address;
                Ok(service)
            }
            None => Err(service.failed_to_listen()),
        }
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// Whether it has ended on its own.
    pub(crate) fn has_ended(&mut self) -> bool {
        matches!(self.child.try_wait(), Ok(Some(_)) | Err(_))
    }

    /// Lets it end what it has begun, and hands over its log.
    pub(crate) fn stop(mut self) -> Result<Vec<String>, String> {
        drop(self.stdin.take());
        let since = Instant::now();
        loop {
            match self.child.try_wait() {
                Ok(Some(status)) if status.success() => break,
                Ok(Some(status)) => return Err(format!("the service ended badly: {status}")),
                Ok(None) if since.elapsed() < PATIENCE => {
                    std::thread::sleep(Duration::from_millis(5));
                }
                Ok(None) => return Err("the service did not end when it was told to".to_owned()),
                Err(error) => return Err(format!("the service was lost: {error}")),
            }
        }
        Ok(self.take_log())
    }

    /// Ends it as a crash would, and hands over its log so far.
    pub(crate) fn kill(mut self) -> Result<Vec<String>, String> {
        let killed = self.child.kill().and_then(|()| self.child.wait());
        killed.map_err(|error| format!("the service could not be killed: {error}"))?;
        Ok(self.take_log())
    }

    fn take_log(&mut self) -> Vec<String> {
        let log = self.log.take().map(JoinHandle::join);
        log.and_then(Result::ok).unwrap_or_default()
    }

    fn failed_to_listen(&mut self) -> String {
        let _ = self.child.kill();
        let _ = self.child.wait();
        let said = self.take_log().join("\n");
        format!("the service did not listen\n{said}")
            .trim_end()
            .to_owned()
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        // Where it has ended already both do nothing.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
