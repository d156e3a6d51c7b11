//! The folder of a server, and a watchdog that outlives this process by a moment.

use std::fs;
use std::io::ErrorKind;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};

/// Waits for the end of its input: this process dropped it, or is gone. Then ends what is still
/// named in the folder's `pid` file, and removes the folder.
const WATCHDOG: &str = r#"
trap '' INT TERM HUP QUIT
cat >/dev/null
if read -r pid <"$0/pid"; then
    kill -s "$1" "$pid"; kill -s CONT "$pid"
    n=0
    while kill -0 "$pid" && ! grep -q ') Z ' "/proc/$pid/stat" && [ "$n" -lt 50 ]; do sleep 0.1; n=$((n + 1)); done
    kill -s KILL "$pid"
fi
rm -rf "$0"
"#;

/// Owns a temporary folder. A server that has written its process id into [`Keeper::pid_file`]
/// ends with it, also if this process is killed.
#[derive(Debug)]
pub(crate) struct Keeper {
    folder: PathBuf,
    watchdog: Child,
    /// The watchdog's input, which nobody ever writes to.
    life: Option<ChildStdin>,
}

impl Keeper {
    /// A new folder, and who watches over it. `signal` ends a server that is left over: `QUIT`.
    pub(crate) fn new(signal: &str) -> Self {
        let folder = temporary_folder();
        let mut watchdog = Command::new("sh")
            .args(["-c", WATCHDOG])
            .arg(&folder)
            .arg(signal)
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            // A Ctrl-C at the terminal is for the tests, not for who cleans up behind them.
            .process_group(0)
            .spawn()
            .unwrap_or_else(|error| panic!("cannot start sh: {error}"));
        let life = watchdog.stdin.take();
        Self {
            folder,
            watchdog,
            life,
        }
    }

    pub(crate) fn folder(&self) -> &Path {
        &self.folder
    }

    pub(crate) fn pid_file(&self) -> PathBuf {
        self.folder.join("pid")
    }
}

impl Drop for Keeper {
    fn drop(&mut self) {
        drop(self.life.take());
        let _ = self.watchdog.wait();
    }
}

fn temporary_folder() -> PathBuf {
    static COUNT: AtomicU32 = AtomicU32::new(0);
    loop {
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        let name = format!("idemp-servers-{}-{count}", std::process::id());
        let folder = std::env::temp_dir().join(name);
        match fs::create_dir(&folder) {
            Ok(()) => return folder,
            Err(error) if error.kind() == ErrorKind::AlreadyExists => {}
            Err(error) => panic!("cannot make {}: {error}", folder.display()),
        }
    }
}
