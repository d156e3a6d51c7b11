//! [`Show`]: asks the service, shows what is said, and keeps the record of the checks.

use std::fmt::Display;
use std::net::SocketAddr;
use std::sync::LazyLock;
use std::time::{Duration, Instant};

use http::StatusCode;
use idemp::{Entropy, SystemEntropy};
use tokio::task::JoinSet;
use tokio::time::timeout;
use video_tasks::client::{Call, Client, Error, Reply};

use crate::screen::{WIDTH, bold, cyan, dim, fit, green, json, red, rule, wrap, yellow};

/// Longer than any answer takes.
const PATIENCE: Duration = Duration::from_secs(10);

/// The headers of an answer that this is about.
const HEADERS: [&str; 5] = [
    "Location",
    "Idempotent-Replayed",
    "Retry-After",
    "Cache-Control",
    "X-Request-Id",
];

/// What there is where nothing should be.
const NOTHING: &str = "none";

/// The columns of the checks.
const WHAT: usize = 28;
const VALUE: usize = 30;

pub(crate) struct Show {
    client: Client,
    act: usize,
    checks: Vec<Check>,
}

/// What was asked, what should have come of it, and what did.
struct Check {
    act: usize,
    what: String,
    expected: String,
    got: String,
    held: bool,
}

impl Show {
    pub(crate) fn begin(address: SocketAddr, store: &str) -> Self {
        println!();
        println!("  {}  created once, answered every time", bold("idemp"));
        let place = format!("the service is a process of its own at http://{address}");
        println!("  {}", dim(&place));
        println!("  {}", dim(&format!("its idempotency keys are in {store}")));
        Self {
            client: Client::new(address),
            act: 0,
            checks: Vec::new(),
        }
    }

    /// The service is another process now, at another address.
    pub(crate) fn moved(&mut self, address: SocketAddr) {
        self.client = Client::new(address);
    }

    pub(crate) fn act(&mut self, title: &str) {
        self.act += 1;
        println!("\n\n{}", rule(&format!("{}  {title}", self.act)));
    }

    /// A few words to the audience.
    pub(crate) fn say(&self, text: &str) {
        println!();
        for line in wrap(text, 2) {
            println!("{line}");
        }
    }

    /// Sends one request, and shows it and its answer.
    pub(crate) async fn ask(&self, call: Call) -> Result<Reply, Error> {
        show_call(&call, 1);
        let since = Instant::now();
        let reply = self.send(&call).await?;
        show_reply(&reply, since.elapsed());
        Ok(reply)
    }

    /// Sends one request that is not worth showing.
    pub(crate) async fn send(&self, call: &Call) -> Result<Reply, Error> {
        timeout(PATIENCE, self.client.send(call)).await?
    }

    /// Sends the same request many times at the same moment: every connection stands before the
    /// first one is used. Shows the request, and leaves the answers to the caller.
    pub(crate) async fn ask_together(
        &self,
        call: &Call,
        times: usize,
    ) -> Result<Vec<Reply>, Error> {
        show_call(call, times);
        let mut ready = Vec::new();
        for _ in 0..times {
            ready.push(timeout(PATIENCE, self.client.connect()).await??);
        }
        let mut sending = JoinSet::new();
        for connection in ready {
            let call = call.clone();
            sending.spawn(async move { timeout(PATIENCE, connection.send(&call)).await });
        }
        let mut replies = Vec::new();
        while let Some(reply) = sending.join_next().await {
            replies.push(reply???);
        }
        println!();
        Ok(replies)
    }

    /// One answer of many, in a line.
    pub(crate) fn line(&self, reply: &Reply, text: &str) {
        let pad = " ".repeat(14_usize.saturating_sub(said(reply.status).len()));
        println!("  {} {}{pad}{text}", cyan("◀"), status(reply.status));
    }

    /// One request of many and its answer, in a line.
    pub(crate) async fn ask_briefly(&self, call: Call, name: &str) -> Result<Reply, Error> {
        let reply = self.send(&call).await?;
        let (path, answer) = (
            format!("{} {}", call.method, call.path),
            status(reply.status),
        );
        let pad = " ".repeat(14_usize.saturating_sub(said(reply.status).len()));
        println!(
            "  {} {path:<44}{} {answer}{pad}{}",
            cyan("▶"),
            cyan("◀"),
            reply.text(name)
        );
        Ok(reply)
    }

    /// Records that `got` is `expected`, or is not.
    pub(crate) fn check(&mut self, what: &str, expected: impl Display, got: impl Display) {
        let (expected, got) = (expected.to_string(), got.to_string());
        let held = expected == got;
        self.record(what, expected, got, held);
    }

    /// Records that `got` is there and is not `other`, or is not so.
    pub(crate) fn check_new(&mut self, what: &str, other: impl Display, got: impl Display) {
        let (other, got) = (other.to_string(), got.to_string());
        let held = other != got && !got.is_empty();
        let expected = if other.is_empty() {
            "a new one".to_owned()
        } else {
            format!("not {other}")
        };
        self.record(what, expected, got, held);
    }

    fn record(&mut self, what: &str, expected: String, got: String, held: bool) {
        let named = |value: String| {
            if value.is_empty() {
                NOTHING.to_owned()
            } else {
                value
            }
        };
        let (expected, got) = (named(expected), named(got));
        if held {
            println!("    {} {what:<WHAT$}  {}", mark(held), dim(&got));
        } else {
            let wrong = red(&format!("{got}, not {expected}"));
            println!("    {} {what:<WHAT$}  {wrong}", mark(held));
        }
        self.checks.push(Check {
            act: self.act,
            what: what.to_owned(),
            expected,
            got,
            held,
        });
    }

    /// The lines of the service's log that contain `part`.
    pub(crate) fn log(&self, lines: &[String], title: &str, part: &str) {
        println!("\n\n{}\n", rule(&format!("log  {title}")));
        for line in lines.iter().filter(|line| line.contains(part)) {
            println!("  {}", log_line(line));
        }
    }

    /// The table of the checks, and the verdict: whether all held.
    pub(crate) fn end(self, took: Duration) -> bool {
        println!("\n\n{}\n", rule("what was checked"));
        let row = |act: &str, what: &str, expected: &str, got: &str| {
            format!(
                "{act:<4}{:<WHAT$}  {:<VALUE$}  {:<VALUE$}",
                fit(what, WHAT),
                fit(expected, VALUE),
                fit(got, VALUE)
            )
        };
        println!("  {}", dim(&row("act", "asked", "expected", "got")));
        let mut act = 0;
        for check in &self.checks {
            let number = if check.act == act {
                String::new()
            } else {
                check.act.to_string()
            };
            act = check.act;
            let row = row(&number, &check.what, &check.expected, &check.got);
            println!("  {row} {}", mark(check.held));
        }
        let failed = self.checks.iter().filter(|check| !check.held).count();
        let all = self.checks.len();
        let seconds = took.as_secs_f64();
        println!();
        if failed == 0 {
            let verdict = format!("all {all} checks held");
            println!("  {} in {seconds:.1} s\n", green(&verdict));
        } else {
            let verdict = format!("{failed} of {all} checks did not hold");
            println!("  {}\n", red(&verdict));
        }
        failed == 0
    }
}

/// A name that no other play has used.
pub(crate) fn of_this_play(name: &str) -> String {
    static PLAY: LazyLock<String> = LazyLock::new(|| {
        let bytes = SystemEntropy.bytes();
        bytes[..6]
            .iter()
            .map(|byte| format!("{byte:02x}"))
            .collect()
    });
    format!("{name}-{}", *PLAY)
}

/// A name as the log shows it: at most 8 characters, and never more than half of it.
pub(crate) fn cut(name: &str) -> String {
    let shown = (name.chars().count() / 2).min(8);
    name.chars().take(shown).chain("...".chars()).collect()
}

fn show_call(call: &Call, times: usize) {
    let times = match times {
        1 => String::new(),
        times => bold(&format!("   {times} times, at the same moment")),
    };
    println!();
    println!(
        "  {} {} {}{times}",
        cyan("▶"),
        bold(call.method.as_str()),
        bold(&call.path)
    );
    for (name, value) in &call.headers {
        println!("    {} {value}", dim(&format!("{name}:")));
    }
    // As it is sent: here every blank counts.
    for line in call.body.lines() {
        println!("    {line}");
    }
}

fn show_reply(reply: &Reply, took: Duration) {
    let took = format!("{:.1} ms", took.as_secs_f64() * 1000.0);
    let gap = WIDTH.saturating_sub(said(reply.status).len() + 4 + took.len());
    let gap = " ".repeat(gap);
    println!();
    println!(
        "  {} {}{gap}{}",
        cyan("◀"),
        status(reply.status),
        dim(&took)
    );
    for name in HEADERS {
        let value = reply.header(name);
        if !value.is_empty() {
            let value = if name == "Idempotent-Replayed" {
                green(value)
            } else {
                value.to_owned()
            };
            println!("    {} {value}", dim(&format!("{name}:")));
        }
    }
    for line in json(&String::from_utf8_lossy(&reply.body), 4) {
        println!("{line}");
    }
    println!();
}

fn said(status: StatusCode) -> String {
    let reason = status.canonical_reason().unwrap_or("");
    format!("{} {reason}", status.as_str())
}

fn status(status: StatusCode) -> String {
    let said = said(status);
    match status.as_u16() {
        200..=299 => green(&said),
        300..=499 => yellow(&said),
        _ => red(&said),
    }
}

fn mark(held: bool) -> String {
    if held { green("✓") } else { red("✗") }
}

/// `[IDEMP] HIT user=… key=…`, the word in a colour of its own.
fn log_line(line: &str) -> String {
    let Some((mark, rest)) = line.split_once("] ") else {
        return line.to_owned();
    };
    let (word, rest) = rest.split_once(" user=").unwrap_or((rest, ""));
    let painted = match word {
        "HIT" | "STORED" | "PUBLISHED" => green(word),
        "CONFLICT" | "IN_PROGRESS" | "FORGOTTEN" | "RELEASED" => yellow(word),
        "FAILED" | "STALE" | "UNKNOWN" => red(word),
        _ => bold(word),
    };
    format!(
        "{} {painted} {}",
        dim(&format!("{mark}]")),
        dim(&format!("user={rest}"))
    )
}
