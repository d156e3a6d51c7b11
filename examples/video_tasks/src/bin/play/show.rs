//! [`Show`]: asks the service, shows what is said, and keeps the record of the checks.

use std::fmt::Display;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use http::StatusCode;
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
    pub(crate) fn begin(address: SocketAddr) -> Self {
        println!();
        println!("  {}  what happens once stays once", bold("idemp"));
        println!(
            "  {}",
            dim(&format!(
                "the service is a process of its own, at http://{address}"
            ))
        );
        Self {
            client: Client::new(address),
            act: 0,
            checks: Vec::new(),
        }
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
    pub(crate) async fn ask_together(&self, call: &Call, times: usize) -> Result<Vec<Reply>, Error> {
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
        println!("  {} {} {text}", cyan("◀"), status(reply.status));
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
        self.record(what, format!("not {other}"), got, held);
    }

    /// Records a check that is not a comparison of two texts.
    pub(crate) fn check_that(&mut self, what: &str, expected: &str, got: impl Display, held: bool) {
        self.record(what, expected.to_owned(), got.to_string(), held);
    }

    fn record(&mut self, what: &str, expected: String, got: String, held: bool) {
        if self.checks.last().is_none_or(|last| last.act != self.act) || held != true {
            // Nothing: the checks stand together under what was shown.
        }
        let mark = mark(held);
        if held {
            println!("    {mark} {what}{}", dim(&format!("  {}", fit(&got, 40))));
        } else {
            println!("    {mark} {what}: expected {expected}, got {}", red(&got));
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
        const WHAT: usize = 46;
        const VALUE: usize = 19;
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
    println!("  {} {} {}{times}", cyan("▶"), bold(call.method.as_str()), bold(&call.path));
    for (name, value) in &call.headers {
        println!("    {} {value}", dim(&format!("{name}:")));
    }
    // As it is sent: here every blank counts.
    for line in call.body.lines() {
        println!("    {line}");
    }
}

fn show_reply(reply: &Reply, took: Duration) {
    let took = format!("{} ms", took.as_millis());
    let said = format!(
        "{} {}",
        reply.status.as_str(),
        reply.status.canonical_reason().unwrap_or("")
    );
    let gap = " ".repeat(WIDTH.saturating_sub(said.chars().count() + 4 + took.len()));
    println!();
    println!("  {} {}{gap}{}", cyan("◀"), status(reply.status), dim(&took));
    for name in HEADERS {
        let value = reply.header(name);
        if !value.is_empty() {
            let value = if name == "Idempotent-Replayed" { green(value) } else { value.to_owned() };
            println!("    {} {value}", dim(&format!("{name}:")));
        }
    }
    for line in json(&reply.json(), 4) {
        println!("{line}");
    }
    println!();
}

fn status(status: StatusCode) -> String {
    let said = format!("{} {}", status.as_str(), status.canonical_reason().unwrap_or(""));
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
    format!("{} {painted} {}", dim(&format!("{mark}]")), dim(&format!("user={rest}")))
}
