//! A command line: shown so that it can be pasted into a shell, and run from the root.

use crate::tally::Tally;
use crate::{screen, workspace};
use std::fmt;
use std::io::{BufRead, BufReader, IsTerminal, Write};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread;
use std::time::Duration;

/// How long a command may take, unless it is known to take its time: one that hangs is named and ended,
/// and the steps behind it run.
const LONGEST: Duration = Duration::from_secs(20 * 60);

#[derive(Clone)]
pub(crate) struct Invocation {
    environment: Vec<(String, String)>,
    words: Vec<String>,
    input: Option<String>,
    folder: Option<String>,
    limit: Duration,
}

impl Invocation {
    /// From words that hold no blanks: `cargo fmt --all`.
    pub(crate) fn new(line: &str) -> Self {
        let words = line.split_whitespace().map(String::from).collect();
        Self {
            environment: Vec::new(),
            words,
            input: None,
            folder: None,
            limit: LONGEST,
        }
    }

    pub(crate) fn arg(mut self, word: impl Into<String>) -> Self {
        self.words.push(word.into());
        self
    }

    pub(crate) fn env(mut self, name: &str, value: impl Into<String>) -> Self {
        self.environment.push((name.to_string(), value.into()));
        self
    }

    /// What the command reads from its standard input.
    pub(crate) fn envs(self, variables: &[(&str, String)]) -> Self {
        let one = |all: Self, (name, value): &(&str, String)| all.env(name, &**value);
        variables.iter().fold(self, one)
    }

    pub(crate) fn input(mut self, text: impl Into<String>) -> Self {
        self.input = Some(text.into());
        self
    }

    /// Instead of the root.
    pub(crate) fn folder(mut self, from_root: impl Into<String>) -> Self {
        self.folder = Some(from_root.into());
        self
    }

    /// Instead of twenty minutes.
    pub(crate) fn within(mut self, limit: Duration) -> Self {
        self.limit = limit;
        self
    }

    /// Shows and runs the command. Its output goes straight to the screen, whole.
    pub(crate) fn run(&self) -> Result<(), String> {
        self.show();
        let mut child = self.spawn(Stdio::inherit(), Stdio::inherit())?;
        let watch = self.watch(&child);
        self.feed(&mut child);
        let ended = child.wait().map_err(|error| self.broken(&error))?;
        self.judge(ended, watch)
    }

    /// As `run`, and adds up the closing lines of the test programs that `cargo test` or
    /// `node --test` ran.
    pub(crate) fn run_tests(&self, tally: &mut Tally) -> Result<(), String> {
        self.each_line(|line| {
            print!("{line}");
            tally.add(&Tally::of_line(line));
        })
    }

    /// Shows and runs the command, and hands back its output; what it says besides goes to the screen.
    pub(crate) fn output(&self) -> Result<String, String> {
        let mut output = String::new();
        self.each_line(|line| output.push_str(line))?;
        Ok(output)
    }

    fn each_line(&self, mut take: impl FnMut(&str)) -> Result<(), String> {
        self.show();
        let mut child = self.spawn(Stdio::piped(), Stdio::inherit())?;
        let watch = self.watch(&child);
        self.feed(&mut child);
        let mut output = BufReader::new(child.stdout.take().expect("piped"));
        let mut line = Vec::new();
        while output
            .read_until(b'\n', &mut line)
            .map_err(|error| self.broken(&error))?
            > 0
        {
            take(&String::from_utf8_lossy(&line));
            line.clear();
        }
        let ended = child.wait().map_err(|error| self.broken(&error))?;
        self.judge(ended, watch)
    }

    /// Runs the command unseen and hands back its output; of a failure, the whole of it.
    pub(crate) fn capture(&self) -> Result<String, String> {
        let mut child = self.spawn(Stdio::piped(), Stdio::piped())?;
        let watch = self.watch(&child);
        self.feed(&mut child);
        let output = child
            .wait_with_output()
            .map_err(|error| self.broken(&error))?;
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        match self.judge(output.status, watch) {
            Ok(()) => Ok(text),
            Err(failure) => {
                let said = String::from_utf8_lossy(&output.stderr);
                Err(format!("{failure}\n{text}{said}").trim_end().to_string())
            }
        }
    }

    pub(crate) fn show(&self) {
        println!("{}", screen::dim(&format!("$ {self}")));
    }

    fn spawn(&self, out: Stdio, err: Stdio) -> Result<Child, String> {
        let (program, arguments) = self.words.split_first().expect("a command has a name");
        let mut command = Command::new(program);
        command
            .current_dir(workspace::root().join(self.folder.as_deref().unwrap_or("")))
            .args(arguments)
            .stdout(out)
            .stderr(err);
        command.stdin(if self.input.is_some() {
            Stdio::piped()
        } else {
            Stdio::null()
        });
        // `cargo run` describes xtask to its child. Other builds are not to see it.
        for (name, _) in std::env::vars_os() {
            let name = name.to_string_lossy();
            if ["CARGO_PKG_", "CARGO_MANIFEST_"]
                .iter()
                .any(|prefix| name.starts_with(prefix))
            {
                command.env_remove(&*name);
            }
        }
        #[cfg(unix)]
        if in_groups() {
            std::os::unix::process::CommandExt::process_group(&mut command, 0);
        }
        command.env_remove("CARGO");
        command.envs(self.environment.iter().map(|(name, value)| (name, value)));
        command.spawn().map_err(|error| self.broken(&error))
    }

    fn feed(&self, child: &mut Child) {
        if let (Some(text), Some(mut pipe)) = (&self.input, child.stdin.take()) {
            // A command that ends without reading its input answers with its status.
            let _ = pipe.write_all(text.as_bytes());
        }
    }

    fn watch(&self, child: &Child) -> Watch {
        let (running, gone) = mpsc::channel::<()>();
        let (limit, child) = (self.limit, child.id());
        let watch = move || {
            let late = gone.recv_timeout(limit) == Err(RecvTimeoutError::Timeout);
            if late {
                end(child);
            }
            late
        };
        Watch {
            running,
            thread: thread::spawn(watch),
        }
    }

    fn judge(&self, status: ExitStatus, watch: Watch) -> Result<(), String> {
        drop(watch.running);
        let late = watch.thread.join().unwrap_or(false);
        match status.success() {
            _ if late => {
                let limit = self.limit.as_secs();
                Err(format!("`{self}` hung: it was ended after {limit} s"))
            }
            true => Ok(()),
            false => Err(format!("`{self}` failed: {status}")),
        }
    }

    fn broken(&self, error: &std::io::Error) -> String {
        format!("`{self}` did not run: {error}")
    }
}

/// Ends a command that takes too long.
struct Watch {
    running: mpsc::Sender<()>,
    thread: thread::JoinHandle<bool>,
}

/// Whether commands are each in a process group, so that what they started ends with them. Not at a
/// terminal, whose Ctrl-C would pass them by.
fn in_groups() -> bool {
    cfg!(unix) && !std::io::stdin().is_terminal()
}

fn end(child: u32) {
    let whom = if in_groups() {
        format!("-{child}")
    } else {
        child.to_string()
    };
    // Where this fails, the command has ended by itself.
    let _ = Command::new("kill").args(["-KILL", "--", &whom]).status();
}

/// The command line for a POSIX shell in the root of the workspace.
impl fmt::Display for Invocation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Words that lie in the workspace are shown from where the reader is.
        let here = if self.folder.is_some() {
            "$OLDPWD"
        } else {
            "$PWD"
        };
        if let Some(folder) = &self.folder {
            write!(f, "(cd {} && ", quoted(folder, here))?;
        }
        if let Some(text) = &self.input {
            write!(f, "printf %s {} | ", quoted(text, here))?;
        }
        for (name, value) in &self.environment {
            write!(f, "{name}={} ", quoted(value, here))?;
        }
        let words: Vec<String> = self.words.iter().map(|word| quoted(word, here)).collect();
        f.write_str(&words.join(" "))?;
        f.write_str(if self.folder.is_some() { ")" } else { "" })
    }
}

fn quoted(word: &str, here: &str) -> String {
    let root = workspace::root().display().to_string();
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_./=+:,@%*".contains(c);
    if let Some(inside) = word.strip_prefix(&format!("{root}/")) {
        format!("\"{here}/{inside}\"")
    } else if !word.is_empty() && word.chars().all(|c| plain(c) && c != '*') {
        word.to_string()
    } else if word.chars().all(|c| plain(c) || c == ' ') {
        format!("\"{word}\"")
    } else {
        format!("'{}'", word.replace('\'', r"'\''"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_line_can_be_pasted_into_a_shell() {
        let inside = workspace::root().join("target/rustc").display().to_string();
        let invocation = Invocation::new("cargo doc --no-deps")
            .arg("it's")
            .env("RUSTDOCFLAGS", "-D warnings")
            .env("RUSTC", inside);
        assert_eq!(
            invocation.to_string(),
            r#"RUSTDOCFLAGS="-D warnings" RUSTC="$PWD/target/rustc" cargo doc --no-deps 'it'\''s'"#
        );
    }

    #[test]
    fn a_command_in_a_folder_leaves_the_shell_where_it_is() {
        let inside = workspace::root().join("target/a").display().to_string();
        let invocation = Invocation::new("").arg(inside).arg("-q").folder("core");
        assert_eq!(
            invocation.to_string(),
            r#"(cd core && "$OLDPWD/target/a" -q)"#
        );
    }

    #[test]
    fn what_is_shown_means_to_a_shell_what_is_run() {
        let words = [
            "a b",
            "$HOME",
            "*",
            "it's",
            "{\"a\":1}",
            "",
            "back\\slash",
            "`x`",
        ];
        let printf = words
            .iter()
            .fold(Invocation::new("printf %s|"), |line, word| line.arg(*word));
        let pasted = Invocation::new("sh -c").arg(printf.to_string());
        assert_eq!(pasted.capture().unwrap(), printf.capture().unwrap());
    }

    #[test]
    fn input_reaches_the_command_and_is_shown() {
        let cat = Invocation::new("cat").input("{\"a\": 1}");
        assert_eq!(cat.capture().unwrap(), "{\"a\": 1}");
        assert_eq!(cat.to_string(), r#"printf %s '{"a": 1}' | cat"#);
    }

    #[test]
    fn a_failure_hands_back_everything_the_command_said() {
        let failing = Invocation::new("sh -c").arg("echo out; echo err >&2; exit 3");
        let failure = failing.capture().unwrap_err();
        assert!(failure.contains("exit status: 3"), "{failure}");
        assert!(failure.ends_with("out\nerr"), "{failure}");
    }

    #[test]
    fn a_command_that_hangs_is_ended_with_all_that_it_started() {
        // What holds the pipe open has to go, too, or this is not reached.
        let line = if in_groups() {
            "sleep 600 & wait"
        } else {
            "exec sleep 600"
        };
        let hanging = Invocation::new("sh -c").arg(line);
        let failure = hanging.within(Duration::from_millis(200)).capture();
        assert!(failure.unwrap_err().contains("hung"));
    }
}
