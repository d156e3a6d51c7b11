//! Benchmarks: contenders that run interleaved, so that what slows the machine slows all of them,
//! and medians over many short rounds. Never a test: a number here fails nothing.
//!
//! ```no_run
//! use idemp_benches::Race;
//!
//! let numbers: Vec<u64> = (0..1000).collect();
//! let mut race = Race::new("sum of 1,000 numbers");
//! race.contender("loop", || numbers.iter().sum::<u64>());
//! race.contender("formula", || 1000u64 * 999 / 2);
//! race.run().print();
//! ```

pub mod blast;
pub mod service;

use std::hint::black_box;
use std::time::{Duration, Instant};

/// Contenders that do the same work. The first one is the reference.
pub struct Race<'a> {
    title: String,
    rounds: usize,
    round: Duration,
    bytes: Option<usize>,
    contenders: Vec<Contender<'a>>,
}

struct Contender<'a> {
    name: String,
    /// Runs so many times, and says how long it took.
    run: Box<dyn FnMut(u32) -> Duration + 'a>,
}

impl<'a> Race<'a> {
    /// A race of 101 rounds, each contender running for about 2 ms in each.
    #[must_use]
    pub fn new(title: impl Into<String>) -> Self {
        Self {
            title: title.into(),
            rounds: 101,
            round: Duration::from_millis(2),
            bytes: None,
            contenders: Vec::new(),
        }
    }

    /// How many rounds, and how long each contender runs in each.
    pub fn rounds(&mut self, rounds: usize, round: Duration) -> &mut Self {
        self.rounds = rounds.max(1);
        self.round = round;
        self
    }

    /// The bytes that one run works on, to show a throughput.
    pub fn bytes(&mut self, bytes: usize) -> &mut Self {
        self.bytes = Some(bytes);
        self
    }

    /// Adds a contender. What it returns is kept from the optimiser.
    pub fn contender<T>(
        &mut self,
        name: impl Into<String>,
        mut work: impl FnMut() -> T + 'a,
    ) -> &mut Self {
        let run = move |times: u32| {
            let start = Instant::now();
            for _ in 0..times {
                black_box(work());
            }
            start.elapsed()
        };
        self.contenders.push(Contender {
            name: name.into(),
            run: Box::new(run),
        });
        self
    }

    /// Runs all rounds.
    pub fn run(&mut self) -> Results {
        let round = self.round;
        let times: Vec<u32> = self
            .contenders
            .iter_mut()
            .map(|contender| times_in(round, &mut contender.run))
            .collect();
        let mut samples = vec![Vec::with_capacity(self.rounds); self.contenders.len()];
        for start in 0..self.rounds {
            // A different one begins each round.
            for turn in 0..self.contenders.len() {
                let at = (start + turn) % self.contenders.len();
                let taken = (self.contenders[at].run)(times[at]);
                samples[at].push(taken.as_secs_f64() * 1e9 / f64::from(times[at]));
            }
        }
        let rows = self.contenders.iter().zip(samples);
        Results {
            title: self.title.clone(),
            bytes: self.bytes,
            rows: rows
                .map(|(contender, samples)| Row::new(contender.name.clone(), samples))
                .collect(),
        }
    }
}

/// How often a contender runs in about `round`, found while it warms up.
fn times_in(round: Duration, run: &mut dyn FnMut(u32) -> Duration) -> u32 {
    let mut times = 1u32;
    loop {
        let taken = run(times);
        if taken >= round / 4 || times >= 1 << 24 {
            let wanted = f64::from(times) * round.as_secs_f64() / taken.as_secs_f64().max(1e-9);
            return (wanted as u32).max(1);
        }
        times *= 2;
    }
}

/// What a race found.
pub struct Results {
    title: String,
    bytes: Option<usize>,
    rows: Vec<Row>,
}

/// One contender's times, in nanoseconds a run.
pub struct Row {
    /// The contender.
    pub name: String,
    /// The median.
    pub median: f64,
    /// The lower quartile.
    pub low: f64,
    /// The upper quartile.
    pub high: f64,
}

impl Row {
    fn new(name: String, mut samples: Vec<f64>) -> Self {
        samples.sort_by(f64::total_cmp);
        let quantile = |part: f64| samples[((samples.len() - 1) as f64 * part) as usize];
        Self {
            name,
            median: quantile(0.5),
            low: quantile(0.25),
            high: quantile(0.75),
        }
    }
}

impl Results {
    /// The contenders in the order in which they were added.
    #[must_use]
    pub fn rows(&self) -> &[Row] {
        &self.rows
    }

    /// Writes the table to standard output. The ratio says how many times as fast as the first.
    pub fn print(&self) {
        println!("{}", self.title);
        let reference = self.rows.first().map_or(0.0, |row| row.median);
        for row in &self.rows {
            let throughput = self.bytes.map_or(String::new(), |bytes| {
                format!("{:>9.0} MB/s", bytes as f64 / row.median * 1e3)
            });
            println!(
                "  {:<36} {:>12}  [{:>10} .. {:>10}] {throughput} {:>8.2}x",
                row.name,
                nanoseconds(row.median),
                nanoseconds(row.low),
                nanoseconds(row.high),
                reference / row.median,
            );
        }
        println!();
    }
}

fn nanoseconds(value: f64) -> String {
    match value {
        value if value < 1e4 => format!("{value:.1} ns"),
        value if value < 1e7 => format!("{:.1} us", value / 1e3),
        value => format!("{:.1} ms", value / 1e6),
    }
}
