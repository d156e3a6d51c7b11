//! A command line: shown so that it can be pasted into a shell, and run from the root.

use crate::{screen, workspace};
use std::fmt;
use std::io::{BufRead, BufReader, Write};
use std::process::{Child, Command, ExitStatus, Stdio};

#[derive(Clone)]
pub(crate) struct Invocation {
    environment: Vec<(String, String)>,
    words: Vec<String>,
    input: Option<String>,
}

impl Invocation {
    /// From words that hold no blanks: `cargo fmt --all`.
    pub(crate) fn new(line: &str) -> Self {
        let words = line.split_whitespace().map(String::from).collect();
        Self {
            environment: Vec::new(),
            words,
            input: None,
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
    pub(crate) fn input(mut self, text: impl Into<String>) -> Self {
        self.input = Some(text.into());
        self
    }

    /// Shows and runs the command. Its output goes straight to the screen, whole.
    pub(crate) fn run(&self) -> Result<(), String> {
        self.show();
        let mut child = self.spawn(Stdio::inherit(), Stdio::inherit())?;
        self.feed(&mut child);
        self.judge(child.wait().map_err(|error| self.broken(&error))?)
    }

    /// As `run`, and adds up the closing lines of the test programs that `cargo test` or
    /// `node --test` ran.
    pub(crate) fn run_tests(&self, tally: &mut Tally) -> Result<(), String> {
        self.show();
        let mut child = self.spawn(Stdio::piped(), Stdio::inherit())?;
        self.feed(&mut child);
        let mut output = BufReader::new(child.stdout.take().expect("piped"));
        let mut line = Vec::new();
        while output
            .read_until(b'\n', &mut line)
            .map_err(|error| self.broken(&error))?
            > 0
        {
            let text = String::from_utf8_lossy(&line);
            print!("{text}");
            tally.add(&Tally::of_line(&text));
            line.clear();
        }
        self.judge(child.wait().map_err(|error| self.broken(&error))?)
    }

    /// Runs the command unseen and hands back its output; of a failure, the whole of it.
    pub(crate) fn capture(&self) -> Result<String, String> {
        let mut child = self.spawn(Stdio::piped(), Stdio::piped())?;
        self.feed(&mut child);
        let output = child
            .wait_with_output()
            .map_err(|error| self.broken(&error))?;
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        match self.judge(output.status) {
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
            .current_dir(workspace::root())
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

    fn judge(&self, status: ExitStatus) -> Result<(), String> {
        if status.success() {
            Ok(())
        } else {
            Err(format!("`{self}` failed: {status}"))
        }
    }

    fn broken(&self, error: &std::io::Error) -> String {
        format!("`{self}` did not run: {error}")
    }
}

/// The command line for a POSIX shell in the root of the workspace.
impl fmt::Display for Invocation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(text) = &self.input {
            write!(f, "printf %s {} | ", quoted(text))?;
        }
        for (name, value) in &self.environment {
            write!(f, "{name}={} ", quoted(value))?;
        }
        let words: Vec<String> = self.words.iter().map(|word| quoted(word)).collect();
        f.write_str(&words.join(" "))
    }
}

/// What the closing lines of test programs say, added up.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Tally {
    pub(crate) passed: u64,
    pub(crate) failed: u64,
    pub(crate) skipped: u64,
}

impl Tally {
    pub(crate) fn add(&mut self, other: &Tally) {
        self.passed += other.passed;
        self.failed += other.failed;
        self.skipped += other.skipped;
    }

    pub(crate) fn ran(&self) -> u64 {
        self.passed + self.failed
    }

    /// From a closing line; nothing from any other.
    fn of_line(line: &str) -> Self {
        Self::of_cargo(line)
            .or_else(|| Self::of_node(line))
            .unwrap_or_default()
    }

    /// `test result: ok. 3 passed; 0 failed; 1 ignored; …`
    fn of_cargo(line: &str) -> Option<Self> {
        let mut tally = Self::default();
        let result = line.strip_prefix("test result: ")?;
        let counts = result.split_once(". ").map_or("", |(_, counts)| counts);
        for count in counts.split(';') {
            let Some((number, kind)) = count.trim().split_once(' ') else {
                continue;
            };
            let number = number.parse().unwrap_or(0);
            match kind {
                "passed" => tally.passed = number,
                "failed" => tally.failed = number,
                "ignored" => tally.skipped = number,
                _ => {}
            }
        }
        Some(tally)
    }

    /// `# pass 3`, or `ℹ pass 3`: one line for each count. What ran out of time is cancelled, and
    /// what is still to do is not done.
    fn of_node(line: &str) -> Option<Self> {
        let count = line
            .strip_prefix("# ")
            .or_else(|| line.strip_prefix("ℹ "))?;
        let (kind, number) = count.trim_end().split_once(' ')?;
        let number = number.parse().ok()?;
        let mut tally = Self::default();
        match kind {
            "pass" => tally.passed = number,
            "fail" | "cancelled" => tally.failed = number,
            "skipped" | "todo" => tally.skipped = number,
            _ => return None,
        }
        Some(tally)
    }
}

fn quoted(word: &str) -> String {
    let root = workspace::root().display().to_string();
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_./=+:,@%*".contains(c);
    if let Some(inside) = word.strip_prefix(&format!("{root}/")) {
        format!("\"$PWD/{inside}\"")
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
    fn closing_lines_add_up() {
        let mut tally = Tally::default();
        for line in [
            "running 3 tests\n",
            "test result: ok. 3 passed; 0 failed; 1 ignored; 0 measured; 0 filtered out; finished in 0.00s\n",
            "test result: FAILED. 1 passed; 2 failed; 0 ignored; 0 measured; 4 filtered out\n",
        ] {
            tally.add(&Tally::of_line(line));
        }
        assert_eq!(
            tally,
            Tally {
                passed: 4,
                failed: 2,
                skipped: 1
            }
        );
    }

    #[test]
    fn the_closing_lines_of_node_add_up_by_either_reporter() {
        let closing = |sign: &str| {
            let counts = "tests 9\nsuites 2\npass 3\nfail 1\ncancelled 1\nskipped 2\ntodo 2\nduration_ms 71.4\n";
            let lines = counts.split_inclusive('\n');
            let mut tally = Tally::default();
            for line in lines {
                tally.add(&Tally::of_line(&format!("{sign} {line}")));
            }
            tally
        };
        let expected = Tally {
            passed: 3,
            failed: 2,
            skipped: 4,
        };
        assert_eq!(closing("#"), expected);
        assert_eq!(closing("ℹ"), expected);
    }

    #[test]
    fn what_a_test_says_of_itself_is_no_closing_line() {
        for line in [
            "    # pass 3",
            "# pass the salt",
            "# Subtest: pass 3",
            "✔ pass 3 (0.5ms)",
            "pass 3",
        ] {
            assert_eq!(Tally::of_line(line), Tally::default(), "{line}");
        }
    }
}
